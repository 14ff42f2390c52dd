//! The containers: what Docker Compose, a builder of images, Prometheus and Grafana are told, as far as it can be shown
//! without an engine. Compose itself reads its files, and what the Dockerfile runs is run here, natively.

mod dashboard;
mod demo;
mod dockerfile;
mod health;
mod image;
mod project;
mod prometheus;
mod replay;
mod services;
mod variables;
