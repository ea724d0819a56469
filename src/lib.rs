//! slicer-k3s
