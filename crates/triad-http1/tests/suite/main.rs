//! What is taken, what is refused, and that nobody else reads what goes on differently.

mod differential;
mod golden;
mod hyper;
mod properties;
mod transcript;
