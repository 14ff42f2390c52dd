//! The files that operators copy from `deploy/`: validated against published schemas where these exist, and run where
//! that is possible. Each page states how its files are checked. Each check must also reject an invalid file, which
//! shows that the check can fail.

mod cloudflare;
mod files;
mod fleet;
mod image;
mod kubernetes;
mod lifecycle;
mod mesh;
mod pages;
mod systemd;
mod traefik;
