//! The status page: what a browser loads to show `/status` and `/usage`, as it stands in this folder.
//! HTML, CSS and JavaScript as browsers have them since 2023; nothing is built, and nothing comes from elsewhere.

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asset {
    pub(super) media_type: &'static str,
    pub(super) text: &'static str,
}

/// The file that is found at `path`.
pub(super) fn asset(path: &str) -> Option<Asset> {
    let asset = match path {
        "/" => html(include_str!("page.html")),
        "/page.css" => css(include_str!("page.css")),
        "/page.js" => javascript(include_str!("page.js")),
        "/now.js" => javascript(include_str!("now.js")),
        "/usage.js" => javascript(include_str!("usage.js")),
        "/chart.js" => javascript(include_str!("chart.js")),
        "/words.js" => javascript(include_str!("words.js")),
        _ => return None,
    };
    Some(asset)
}

const fn html(text: &'static str) -> Asset {
    Asset {
        media_type: "text/html; charset=utf-8",
        text,
    }
}

const fn css(text: &'static str) -> Asset {
    Asset {
        media_type: "text/css; charset=utf-8",
        text,
    }
}

const fn javascript(text: &'static str) -> Asset {
    Asset {
        media_type: "text/javascript; charset=utf-8",
        text,
    }
}
