//! The compiled module itself: its exports, and the instructions of each request.

mod exports;
mod fuel;
