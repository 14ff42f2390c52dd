//! What the pages of `docs/` say is done and compared: commands are run, and names are looked up in the sources.

mod clients;
mod deployment;
mod migration;
mod page;
mod references;
mod troubleshooting;
