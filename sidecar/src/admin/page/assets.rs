//! The files of the status page by path.

/// A file of the status page.
#[derive(Debug, Clone, Copy)]
pub(in crate::admin) struct Asset {
    pub(in crate::admin) media_type: &'static str,
    pub(in crate::admin) text: &'static str,
}

/// Returns the file at `path`.
pub(in crate::admin) fn asset(path: &str) -> Option<Asset> {
    let asset = match path {
        "/" => html(include_str!("page.html")),
        "/page.css" => css(include_str!("page.css")),
        "/page.js" => javascript(include_str!("page.js")),
        "/status.js" => javascript(include_str!("status.js")),
        "/usage.js" => javascript(include_str!("usage.js")),
        "/chart.js" => javascript(include_str!("chart.js")),
        "/format.js" => javascript(include_str!("format.js")),
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
