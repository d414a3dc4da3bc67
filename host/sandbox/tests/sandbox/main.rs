//! The sandbox from outside: plugins made for the occasion are loaded, called and refused.

mod building;
mod cache;
mod forge;
mod hostile;
mod loading;
mod manifests;
