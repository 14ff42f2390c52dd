//! What may follow what in a JSON object, as a table: one row a state, one column a byte.
//! RFC 8259; the value of the top-level `model` has states of its own, for there only a string or null will do.

/// What may come next, or what we are inside of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    #[default]
    Start,
    KeyOrClose,
    Key,
    Colon,
    ValueOrClose,
    Value,
    CommaOrClose,
    ModelColon,
    ModelValue,
    End,
    /// Inside a string; `text` knows where it ends, and this table does not.
    Text,
    /// After `t`; likewise the states below, down to `ModelNul`.
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
    /// After the minus of a number; likewise the states below.
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
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
    /// The model is neither a string nor null.
    NotText,
    NotAnObject,
    Malformed,
}

impl State {
    /// All states in the order of their numbers.
    const ALL: [Self; 32] = [
        Self::Start,
        Self::KeyOrClose,
        Self::Key,
        Self::Colon,
        Self::ValueOrClose,
        Self::Value,
        Self::CommaOrClose,
        Self::ModelColon,
        Self::ModelValue,
        Self::End,
        Self::Text,
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
        Self::Minus,
        Self::Zero,
        Self::Integer,
        Self::Point,
        Self::Fraction,
        Self::Exponent,
        Self::ExponentSign,
        Self::ExponentDigits,
    ];

    /// What this byte does in this state.
    pub(super) fn on(self, byte: u8) -> Move {
        MOVES
            .get(self as usize)
            .and_then(|row| row.get(usize::from(byte)))
            .copied()
            .unwrap_or(Move::Malformed)
    }
}

/// The grammar below, worked out at compile time: 8 KiB, of which a body touches little.
static MOVES: [[Move; 256]; State::ALL.len()] = {
    let mut moves = [[Move::Malformed; 256]; State::ALL.len()];
    let mut rows = moves.as_mut_slice();
    let mut states = State::ALL.as_slice();
    while let ([row, rows_left @ ..], [state, states_left @ ..]) = (rows, states) {
        assert!(
            *state as usize + states.len() == State::ALL.len(),
            "a state's number is that of its row"
        );
        *row = row_of(*state);
        (rows, states) = (rows_left, states_left);
    }
    moves
};

const fn row_of(state: State) -> [Move; 256] {
    let mut row = [Move::Malformed; 256];
    let mut rest = row.as_mut_slice();
    let mut byte = 0_u8;
    while let [first, left @ ..] = rest {
        *first = any(state, byte);
        byte = byte.wrapping_add(1);
        rest = left;
    }
    row
}

const fn any(state: State, byte: u8) -> Move {
    use State as S;
    match state {
        S::Text => Move::To(S::Text),
        S::T | S::Tr | S::Tru | S::F | S::Fa | S::Fal | S::Fals | S::N | S::Nu | S::Nul => {
            literal(state, byte)
        }
        S::ModelN | S::ModelNu | S::ModelNul => literal(state, byte),
        S::Minus | S::Zero | S::Integer | S::Point | S::Fraction => number(state, byte),
        S::Exponent | S::ExponentSign | S::ExponentDigits => number(state, byte),
        _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => Move::To(state),
        S::Value | S::ValueOrClose | S::ModelValue => value(state, byte),
        _ => structure(state, byte),
    }
}

/// Between values (sections 4 and 5).
const fn structure(state: State, byte: u8) -> Move {
    use State as S;
    match (state, byte) {
        (S::Start, b'{') => Move::OpenObject,
        (S::Start, _) => Move::NotAnObject,
        (S::KeyOrClose | S::Key, b'"') => Move::OpenKey,
        (S::Colon, b':') => Move::To(S::Value),
        (S::ModelColon, b':') => Move::To(S::ModelValue),
        (S::CommaOrClose, b',') => Move::Comma,
        (S::KeyOrClose | S::CommaOrClose, b'}') => Move::CloseObject,
        (S::CommaOrClose, b']') => Move::CloseArray,
        _ => Move::Malformed,
    }
}

/// Before a value (section 3).
const fn value(state: State, byte: u8) -> Move {
    use State as S;
    match (state, byte) {
        (S::ModelValue, b'"') => Move::OpenModel,
        (S::ModelValue, b'n') => Move::To(S::ModelN),
        (S::ModelValue, b'{' | b'[' | b't' | b'f' | b'-' | b'0'..=b'9') => Move::NotText,
        (S::ModelValue, _) => Move::Malformed,
        (S::ValueOrClose, b']') => Move::CloseArray,
        (_, b'"') => Move::OpenText,
        (_, b'{') => Move::OpenObject,
        (_, b'[') => Move::OpenArray,
        (_, b't') => Move::To(S::T),
        (_, b'f') => Move::To(S::F),
        (_, b'n') => Move::To(S::N),
        (_, b'-') => Move::To(S::Minus),
        (_, b'0') => Move::To(S::Zero),
        (_, b'1'..=b'9') => Move::To(S::Integer),
        _ => Move::Malformed,
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

/// Inside a number (section 6), which nothing closes but the byte after it.
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
        _ => any(S::CommaOrClose, byte),
    }
}
