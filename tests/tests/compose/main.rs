//! The container files: Docker Compose, the Dockerfile, Prometheus and Grafana, as far as they can be tested without a
//! container engine. Docker Compose itself reads the compose files, and the `RUN` commands of the Dockerfile run
//! natively.

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
