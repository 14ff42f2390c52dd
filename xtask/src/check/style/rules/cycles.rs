//! Files of a crate that import from each other in a circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::graph::Graph;
use super::imports;
use crate::check::style::figure::Figure;
use crate::check::style::source::{CrateSource, Place, SourceFile};

/// The line of the first import, by importing and imported file.
type Edges = BTreeMap<(usize, usize), usize>;

pub(super) fn between_files(source: &CrateSource) -> Figure {
    let mut targets: BTreeMap<usize, Vec<&SourceFile>> = BTreeMap::new();
    for file in source.product_files() {
        targets.entry(file.target).or_default().push(file);
    }
    Figure::count(targets.values().flat_map(|files| cycles(files)).collect())
}

fn cycles(files: &[&SourceFile]) -> Vec<Place> {
    let edges = edges(files);
    let mut seen = BTreeSet::new();
    let mut places = Vec::new();
    for (&(from, to), line) in &edges {
        let Some(way) = shortest_way(&edges, to, from) else {
            continue;
        };
        // The same circle is found from each of its edges.
        if seen.insert(way.iter().copied().collect::<BTreeSet<_>>()) {
            let mut text = String::new();
            for (importing, imported) in std::iter::once(from).chain(way.clone()).zip(way) {
                let path = files[importing].path.display();
                text += &format!("{path}:{} -> ", edges[&(importing, imported)]);
            }
            text += &files[from].path.display().to_string();
            places.push(files[from].place_of(*line, text));
        }
    }
    places
}

fn edges(files: &[&SourceFile]) -> Edges {
    let mut graph = Graph::default();
    for (number, file) in files.iter().enumerate() {
        imports::add(&mut graph, file, number);
    }
    let mut edges = Edges::new();
    for reference in &graph.references {
        if let Some(to) = graph.file_of(reference) {
            edges.entry((reference.file, to)).or_insert(reference.line);
        }
    }
    edges
}

/// The files on the shortest way from `start` to `goal`, both included.
fn shortest_way(edges: &Edges, start: usize, goal: usize) -> Option<Vec<usize>> {
    let mut previous = BTreeMap::from([(start, start)]);
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        if file == goal {
            let mut way = vec![file];
            while way.last() != Some(&start) {
                way.push(previous[&way[way.len() - 1]]);
            }
            way.reverse();
            return Some(way);
        }
        for &(_, next) in edges
            .range((file, 0)..=(file, usize::MAX))
            .map(|(edge, _)| edge)
        {
            previous.entry(next).or_insert_with(|| {
                queue.push_back(next);
                file
            });
        }
    }
    None
}
