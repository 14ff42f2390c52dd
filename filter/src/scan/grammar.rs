//! What may follow what in a JSON object, as a table: one row a state, one column a byte.
//! RFC 8259; the value of the top-level `model` has states of its own, for there only a string or null will do.

/// What has been read, named after what may come next or what we are inside of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    #[default]
    Start,
    KeyOrClose,
    Key,
    Colon,
    Value,
    ValueOrClose,
    CommaOrClose,
    End,
    ModelColon,
    ModelValue,
    Text,
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    T,
    Tr,
    Tru,
    F,
    Fa,
    Fal,
    Fals,
    N,
    Nu,
    Nul,
    ModelN,
    ModelNu,
    ModelNul,
}

/// What a byte does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    To(State),
    OpenObject,
    OpenArray,
    CloseObject,
    CloseArray,
    Comma,
    OpenKey,
    OpenModel,
    OpenText,
    /// The model is null.
    Null,
    /// The model is something else that is not a string.
    NotText,
    NotAnObject,
    Malformed,
}

impl State {
    /// What this byte does in this state.
    pub(super) fn on(self, byte: u8) -> Move {
        MOVES
            .get(self as usize)
            .and_then(|row| row.get(usize::from(byte)))
            .copied()
            .unwrap_or(Move::Malformed)
    }

    /// All states, in the order of their rows.
    const ALL: [Self; 32] = [
        Self::Start,
        Self::KeyOrClose,
        Self::Key,
        Self::Colon,
        Self::Value,
        Self::ValueOrClose,
        Self::CommaOrClose,
        Self::End,
        Self::ModelColon,
        Self::ModelValue,
        Self::Text,
        Self::Minus,
        Self::Zero,
        Self::Integer,
        Self::Point,
        Self::Fraction,
        Self::Exponent,
        Self::ExponentSign,
        Self::ExponentDigits,
        Self::T,
        Self::Tr,
        Self::Tru,
        Self::F,
        Self::Fa,
        Self::Fal,
        Self::Fals,
        Self::N,
        Self::Nu,
        Self::Nul,
        Self::ModelN,
        Self::ModelNu,
        Self::ModelNul,
    ];
}

static MOVES: [[Move; 256]; State::ALL.len()] = {
    let mut moves = [[Move::Malformed; 256]; State::ALL.len()];
    let mut row = 0;
    while row < State::ALL.len() {
        let mut byte = 0;
        while byte < 256 {
            moves[row][byte] = rule(State::ALL[row], byte as u8);
            byte += 1;
        }
        row += 1;
    }
    moves
};

const fn rule(state: State, byte: u8) -> Move {
    use State as S;
    match state {
        S::Text => Move::To(state),
        S::Minus
        | S::Zero
        | S::Integer
        | S::Point
        | S::Fraction
        | S::Exponent
        | S::ExponentSign
        | S::ExponentDigits => number(state, byte),
        S::T
        | S::Tr
        | S::Tru
        | S::F
        | S::Fa
        | S::Fal
        | S::Fals
        | S::N
        | S::Nu
        | S::Nul
        | S::ModelN
        | S::ModelNu
        | S::ModelNul => literal(state, byte),
        _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => Move::To(state),
        _ => structure(state, byte),
    }
}

const fn structure(state: State, byte: u8) -> Move {
    use State as S;
    match (state, byte) {
        (S::Start, b'{') => Move::OpenObject,
        (S::Start, _) => Move::NotAnObject,
        (S::KeyOrClose | S::Key, b'"') => Move::OpenKey,
        (S::KeyOrClose | S::CommaOrClose, b'}') => Move::CloseObject,
        (S::ValueOrClose | S::CommaOrClose, b']') => Move::CloseArray,
        (S::CommaOrClose, b',') => Move::Comma,
        (S::Colon, b':') => Move::To(S::Value),
        (S::ModelColon, b':') => Move::To(S::ModelValue),
        (S::ModelValue, b'"') => Move::OpenModel,
        (S::ModelValue, b'n') => Move::To(S::ModelN),
        (S::ModelValue, b'{' | b'[' | b't' | b'f' | b'-' | b'0'..=b'9') => Move::NotText,
        (S::Value | S::ValueOrClose, b'"') => Move::OpenText,
        (S::Value | S::ValueOrClose, b'{') => Move::OpenObject,
        (S::Value | S::ValueOrClose, b'[') => Move::OpenArray,
        (S::Value | S::ValueOrClose, b'-') => Move::To(S::Minus),
        (S::Value | S::ValueOrClose, b'0') => Move::To(S::Zero),
        (S::Value | S::ValueOrClose, b'1'..=b'9') => Move::To(S::Integer),
        (S::Value | S::ValueOrClose, b't') => Move::To(S::T),
        (S::Value | S::ValueOrClose, b'f') => Move::To(S::F),
        (S::Value | S::ValueOrClose, b'n') => Move::To(S::N),
        _ => Move::Malformed,
    }
}

/// Inside a number (section 6); nothing closes it but the byte after it.
const fn number(state: State, byte: u8) -> Move {
    use State as S;
    match (state, byte) {
        (S::Minus, b'0') => Move::To(S::Zero),
        (S::Minus, b'1'..=b'9') | (S::Integer, b'0'..=b'9') => Move::To(S::Integer),
        (S::Zero | S::Integer, b'.') => Move::To(S::Point),
        (S::Point | S::Fraction, b'0'..=b'9') => Move::To(S::Fraction),
        (S::Zero | S::Integer | S::Fraction, b'e' | b'E') => Move::To(S::Exponent),
        (S::Exponent, b'+' | b'-') => Move::To(S::ExponentSign),
        (S::Exponent | S::ExponentSign | S::ExponentDigits, b'0'..=b'9') => {
            Move::To(S::ExponentDigits)
        }
        (S::Minus | S::Point | S::Exponent | S::ExponentSign, _) => Move::Malformed,
        _ => rule(S::CommaOrClose, byte),
    }
}

/// Inside `true`, `false` or `null` (section 3).
const fn literal(state: State, byte: u8) -> Move {
    use State as S;
    match (state, byte) {
        (S::T, b'r') => Move::To(S::Tr),
        (S::Tr, b'u') => Move::To(S::Tru),
        (S::F, b'a') => Move::To(S::Fa),
        (S::Fa, b'l') => Move::To(S::Fal),
        (S::Fal, b's') => Move::To(S::Fals),
        (S::N, b'u') => Move::To(S::Nu),
        (S::Nu, b'l') => Move::To(S::Nul),
        (S::Tru | S::Fals, b'e') | (S::Nul, b'l') => Move::To(S::CommaOrClose),
        (S::ModelN, b'u') => Move::To(S::ModelNu),
        (S::ModelNu, b'l') => Move::To(S::ModelNul),
        (S::ModelNul, b'l') => Move::Null,
        _ => Move::Malformed,
    }
}
