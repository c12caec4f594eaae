//! Small signs: arrow heads, the lock, the warning.

use super::findings::Mark;
use super::scene::{Anchor, Font, Paint, Scene};

/// Half the width of an arrow head.
const HALF: i32 = 5;
/// Its length.
pub const LENGTH: i32 = 9;

/// The head of an arrow that ends at its tip, pointing down.
pub fn arrow_down(scene: &mut Scene, x: i32, tip: i32, paint: Paint) {
    scene.area(&format!("M{x} {tip}L{} {}H{}Z", x - HALF, tip - LENGTH, x + HALF), paint);
}

/// The same, pointing up.
pub fn arrow_up(scene: &mut Scene, x: i32, tip: i32, paint: Paint) {
    scene.area(&format!("M{x} {tip}L{} {}H{}Z", x - HALF, tip + LENGTH, x + HALF), paint);
}

/// The same, pointing right.
pub fn arrow_right(scene: &mut Scene, tip: i32, y: i32, paint: Paint) {
    scene.area(&format!("M{tip} {y}L{} {}V{}Z", tip - LENGTH, y - HALF, y + HALF), paint);
}

/// Width of a lock with the space after it.
pub const LOCK_WIDTH: i32 = 16;

/// A closed lock whose body stands on `y`.
pub fn lock(scene: &mut Scene, x: i32, y: i32) {
    scene.area(&format!("M{x} {}H{}V{y}H{x}Z", y - 7, x + 10), Paint::Sealed);
    let (left, right, top) = (x + 2, x + 8, y - 9);
    scene.line(&format!("M{left} {}V{top}Q{left} {} {} {}", y - 7, top - 3, x + 5, top - 3), Paint::Sealed);
    scene.line(&format!("M{right} {}V{top}Q{right} {} {} {}", y - 7, top - 3, x + 5, top - 3), Paint::Sealed);
}

/// A triangle with an exclamation mark around (`x`, `y`).
pub fn warning(scene: &mut Scene, x: i32, y: i32) {
    scene.area(&format!("M{x} {}L{} {}H{}Z", y - 7, x - 8, y + 6, x + 8), Paint::Weak);
    let font = Font { size: 9, bold: true, paint: Paint::Page, anchor: Anchor::Middle };
    scene.text(x, y + 5, font, "!");
}

/// A circle with an i around (`x`, `y`).
pub fn note(scene: &mut Scene, x: i32, y: i32) {
    scene.dot(x, y, 7, Paint::Soft);
    let font = Font { size: 10, bold: true, paint: Paint::Page, anchor: Anchor::Middle };
    scene.text(x, y + 4, font, "i");
}

/// Width of a finding's sign and number, with the space after them: numbers have two digits at most.
pub const NUMBER_WIDTH: i32 = 46;

/// A finding's sign and number from `x`, their middle at height `y`; pointed at, they say what it is.
pub fn number(scene: &mut Scene, x: i32, y: i32, found: &Mark) {
    scene.open("mark");
    scene.tooltip(&found.text());
    let paint = if found.is_note() {
        note(scene, x + 8, y);
        Paint::Soft
    } else {
        warning(scene, x + 8, y);
        Paint::Weak
    };
    scene.text(x + 20, y + 5, Font::new(12, paint).bold(), &found.number.to_string());
    scene.close();
}
