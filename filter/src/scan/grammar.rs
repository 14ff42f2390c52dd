//! The grammar of a JSON object as a table: one row for each state, one column for each byte.
//! Follows RFC 8259. The value of the top-level `model` has its own states, since only a string or null is valid there.

/// The position in the grammar: the token that may come next, or the token that is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    #[default]
    Start,
    /// After the first byte of a byte order mark.
    Mark,
    /// Before the last byte of a byte order mark.
    MarkEnd,
    KeyOrClose,
    Key,
    Colon,
    ValueOrClose,
    Value,
    CommaOrClose,
    ModelColon,
    ModelValue,
    End,
    /// Inside a string. The module `text` finds its end; the table is not used.
    Text,
    /// After `t`; the states down to `ModelNul` are named alike.
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
    /// After the minus of a number; the states below are named alike.
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// The effect of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    To(State),
    OpenObject,
    OpenArray,
    CloseObject,
    CloseArray,
    Comma,
    OpenKey,
    OpenModel,
    OpenText,
    /// `model` is null.
    Null,
    /// `model` is neither a string nor null.
    NotAString,
    NotAnObject,
    Malformed,
}

impl State {
    /// Every state, in the order of the discriminants.
    const ALL: [Self; 34] = [
        Self::Start,
        Self::Mark,
        Self::MarkEnd,
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

    /// Returns the effect of this byte in this state.
    pub(super) fn on(self, byte: u8) -> Transition {
        TRANSITIONS
            .get(self as usize)
            .and_then(|row| row.get(usize::from(byte)))
            .copied()
            .unwrap_or(Transition::Malformed)
    }
}

/// The grammar below, evaluated at compile time: 8 KiB, of which a body touches little.
static TRANSITIONS: [[Transition; 256]; State::ALL.len()] = {
    let mut transitions = [[Transition::Malformed; 256]; State::ALL.len()];
    let mut rows = transitions.as_mut_slice();
    let mut states = State::ALL.as_slice();
    while let ([row, rows_left @ ..], [state, states_left @ ..]) = (rows, states) {
        assert!(
            *state as usize + states.len() == State::ALL.len(),
            "a state's discriminant is its row"
        );
        *row = row_of(*state);
        (rows, states) = (rows_left, states_left);
    }
    transitions
};

const fn row_of(state: State) -> [Transition; 256] {
    let mut row = [Transition::Malformed; 256];
    let mut rest = row.as_mut_slice();
    let mut byte = 0_u8;
    while let [first, left @ ..] = rest {
        *first = any(state, byte);
        byte = byte.wrapping_add(1);
        rest = left;
    }
    row
}

const fn any(state: State, byte: u8) -> Transition {
    use State as S;
    match state {
        S::Text => Transition::To(S::Text),
        S::Mark | S::MarkEnd => structure(state, byte), // White space is not a part of the mark.
        S::T | S::Tr | S::Tru | S::F | S::Fa | S::Fal | S::Fals | S::N | S::Nu | S::Nul => {
            literal(state, byte)
        }
        S::ModelN | S::ModelNu | S::ModelNul => literal(state, byte),
        S::Minus | S::Zero | S::Integer | S::Point | S::Fraction => number(state, byte),
        S::Exponent | S::ExponentSign | S::ExponentDigits => number(state, byte),
        _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => Transition::To(state),
        S::Value | S::ValueOrClose | S::ModelValue => value(state, byte),
        _ => structure(state, byte),
    }
}

/// Between values (sections 4 and 5).
const fn structure(state: State, byte: u8) -> Transition {
    use State as S;
    match (state, byte) {
        (S::Start, b'{') => Transition::OpenObject,
        // The byte order mark, which section 8.1 allows to skip. The sidecar checks that there is only one.
        (S::Start, 0xef) => Transition::To(S::Mark),
        (S::Mark, 0xbb) => Transition::To(S::MarkEnd),
        (S::MarkEnd, 0xbf) => Transition::To(S::Start),
        (S::Start, _) => Transition::NotAnObject,
        (S::KeyOrClose | S::Key, b'"') => Transition::OpenKey,
        (S::Colon, b':') => Transition::To(S::Value),
        (S::ModelColon, b':') => Transition::To(S::ModelValue),
        (S::CommaOrClose, b',') => Transition::Comma,
        (S::KeyOrClose | S::CommaOrClose, b'}') => Transition::CloseObject,
        (S::CommaOrClose, b']') => Transition::CloseArray,
        _ => Transition::Malformed,
    }
}

/// Before a value (section 3).
const fn value(state: State, byte: u8) -> Transition {
    use State as S;
    match (state, byte) {
        (S::ModelValue, b'"') => Transition::OpenModel,
        (S::ModelValue, b'n') => Transition::To(S::ModelN),
        (S::ModelValue, b'{' | b'[' | b't' | b'f' | b'-' | b'0'..=b'9') => Transition::NotAString,
        (S::ModelValue, _) => Transition::Malformed,
        (S::ValueOrClose, b']') => Transition::CloseArray,
        (_, b'"') => Transition::OpenText,
        (_, b'{') => Transition::OpenObject,
        (_, b'[') => Transition::OpenArray,
        (_, b't') => Transition::To(S::T),
        (_, b'f') => Transition::To(S::F),
        (_, b'n') => Transition::To(S::N),
        (_, b'-') => Transition::To(S::Minus),
        (_, b'0') => Transition::To(S::Zero),
        (_, b'1'..=b'9') => Transition::To(S::Integer),
        _ => Transition::Malformed,
    }
}

/// Inside `true`, `false` or `null` (section 3).
const fn literal(state: State, byte: u8) -> Transition {
    use State as S;
    match (state, byte) {
        (S::T, b'r') => Transition::To(S::Tr),
        (S::Tr, b'u') => Transition::To(S::Tru),
        (S::F, b'a') => Transition::To(S::Fa),
        (S::Fa, b'l') => Transition::To(S::Fal),
        (S::Fal, b's') => Transition::To(S::Fals),
        (S::N, b'u') => Transition::To(S::Nu),
        (S::Nu, b'l') => Transition::To(S::Nul),
        (S::Tru | S::Fals, b'e') | (S::Nul, b'l') => Transition::To(S::CommaOrClose),
        (S::ModelN, b'u') => Transition::To(S::ModelNu),
        (S::ModelNu, b'l') => Transition::To(S::ModelNul),
        (S::ModelNul, b'l') => Transition::Null,
        _ => Transition::Malformed,
    }
}

/// Inside a number (section 6). A number has no closing byte, so the byte after it is read as structure.
const fn number(state: State, byte: u8) -> Transition {
    use State as S;
    match (state, byte) {
        (S::Minus, b'0') => Transition::To(S::Zero),
        (S::Minus, b'1'..=b'9') | (S::Integer, b'0'..=b'9') => Transition::To(S::Integer),
        (S::Zero | S::Integer, b'.') => Transition::To(S::Point),
        (S::Point | S::Fraction, b'0'..=b'9') => Transition::To(S::Fraction),
        (S::Zero | S::Integer | S::Fraction, b'e' | b'E') => Transition::To(S::Exponent),
        (S::Exponent, b'+' | b'-') => Transition::To(S::ExponentSign),
        (S::Exponent | S::ExponentSign | S::ExponentDigits, b'0'..=b'9') => {
            Transition::To(S::ExponentDigits)
        }
        (S::Minus | S::Point | S::Exponent | S::ExponentSign, _) => Transition::Malformed,
        _ => any(S::CommaOrClose, byte),
    }
}
