//! Tests of the pages in `docs/`: their commands and settings are run, and the names in them are compared with the code.

mod clients;
mod deployment;
mod migration;
mod page;
mod references;
mod troubleshooting;
