//! What people copy from `deploy/`: held against published schemas where there are any, and run where it can be run.
//! Each page there says how it is checked; a check that cannot fail is none, so each refuses something too.

mod cloudflare;
mod files;
mod image;
mod kubernetes;
mod lifecycle;
mod mesh;
mod pages;
mod systemd;
mod traefik;
