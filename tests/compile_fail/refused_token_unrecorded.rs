//! A token answered before it was recorded.

use tgp::admission::Unrecorded;
use tgp::issue::Token;

fn answer(token: Unrecorded<Token>) -> Token {
    token.value
}

fn main() {
    let _ = answer;
}
