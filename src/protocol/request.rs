//! What clients ask for, whatever the dialect.

use std::collections::HashSet;
use std::fmt;

use smallvec::SmallVec;

use super::desk::DeskRequest;
use super::refusal::Refusal;
use super::terms::Options;
use crate::market::spelling::Spelling;
use crate::market::{Form, Kind, Kinds, Name, Subject, Symbol, SymbolCase};

/// How requests are read: which types there are, and when two names are the same. What a client may have of it is a matter of its
/// rights.
#[derive(Debug, Clone)]
pub struct Grammar {
    /// `CHANNEL_TYPES`.
    pub kinds: Kinds,
    /// `SYMBOL_CASE`.
    pub symbol_case: SymbolCase,
    /// `DIALECT_SYMBOL_MAP`.
    pub spelling: Spelling,
}

impl Grammar {
    /// That of a gateway in whose dialects symbols are spelled as workers spell them.
    pub fn new(kinds: Kinds, symbol_case: SymbolCase) -> Self {
        Self { kinds, symbol_case, spelling: Spelling::default() }
    }

    /// The same with other spellings in dialects.
    #[must_use]
    pub fn spelled(self, spelling: Spelling) -> Self {
        Self { spelling, ..self }
    }
}

/// A message that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// The client's own id of it, echoed in the reply.
    pub id: Option<Id>,
}

/// What a client can ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Begin to receive events, or receive them on other terms.
    Subscribe(Subscribe),
    /// Stop receiving events.
    Unsubscribe(Selection),
    /// Ask for a `pong` reply.
    Ping {
        /// With the client's own figures.
        stats: bool,
    },
    /// Ask what one is subscribed to.
    List,
    /// Show who one is, or show it again before the last token ends.
    Auth(Token),
    /// Have the stream's name around each event from now on, or not, in a dialect where that may be chosen.
    SetCombined(bool),
    /// Ask whether it is.
    IsCombined,
    /// Join a namespace of Socket.IO, as one is known.
    Enter,
    /// Ask something of the desk.
    Desk(Box<DeskRequest>),
}

/// Names, of each of some types.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The types; at least one, no repeats.
    pub types: SmallVec<[Kind; 2]>,
    /// The names (normalised, no repeats, in the request's order); at least one, but for requests of dialects.
    pub names: Vec<Chosen>,
}

/// A name of a request, and which of its types have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chosen {
    /// The name.
    pub name: Name,
    /// Which types have it.
    pub of: Of,
}

/// Which types of a request have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Of {
    /// All of a sort, in the form of the connection. Names are folded for market types only, so one text may be two names.
    Types {
        /// The market types.
        market: bool,
        /// The custom types.
        custom: bool,
    },
    /// One type, in that form: dialects have names of their own for such a pair.
    Channel(Kind, Form),
}

impl Chosen {
    /// Whether a type of the request has it.
    pub fn is_of(&self, kind: Kind) -> bool {
        match self.of {
            Of::Types { market, custom } => {
                if kind.is_market() {
                    market
                } else {
                    custom
                }
            }
            Of::Channel(of, _) => of == kind,
        }
    }

    /// Whether an unsubscribe from it ends all that the client holds of its types.
    pub fn is_all(&self) -> bool {
        matches!(self.of, Of::Types { .. }) && self.name.is_everything()
    }

    /// The same of one sort of types more.
    pub(in crate::protocol) fn add_class(&mut self, is_market: bool) {
        if let Of::Types { market, custom } = &mut self.of {
            *market |= is_market;
            *custom |= !is_market;
        }
    }
}

impl Selection {
    /// The subjects that a request means, in that form: each name in each type, in the order of the names.
    pub fn subjects(&self, form: Form) -> Vec<Subject> {
        self.names.iter().flat_map(|chosen| self.subjects_of(chosen, form)).collect()
    }

    /// What one of its names means, in that form.
    pub fn subjects_of<'c>(&'c self, chosen: &'c Chosen, form: Form) -> impl Iterator<Item = Subject> + 'c {
        let types = self.types.iter().filter(|kind| chosen.is_of(**kind));
        types.map(move |kind| {
            let form = match chosen.of {
                Of::Channel(_, own) if form.is_deflated() => own.deflated().delayed(form.delay()),
                Of::Channel(_, own) => own.delayed(form.delay()),
                Of::Types { .. } => form,
            };
            Subject::wanted(*kind, form, chosen.name.clone())
        })
    }

    /// The form of all of them, of a client whose own is `form`: where each name has one, they have the same.
    pub fn form(&self, form: Form) -> Form {
        let mut subjects = self.names.iter().take(1).flat_map(|chosen| self.subjects_of(chosen, form));
        subjects.next().map_or(form, |subject| subject.form)
    }

    /// Names of one type and form each.
    pub fn of_channels(channels: impl IntoIterator<Item = (Kind, Form, Name)>) -> Self {
        let (mut types, mut names, mut seen) = (SmallVec::new(), Vec::new(), HashSet::new());
        for (kind, form, name) in channels {
            if !types.contains(&kind) {
                types.push(kind);
            }
            let chosen = Chosen { name, of: Of::Channel(kind, form) };
            if seen.insert(chosen.clone()) {
                names.push(chosen);
            }
        }
        Self { types, names }
    }

    #[cfg(test)]
    pub(crate) fn of_market(types: &[Kind], names: &[Name]) -> Self {
        let names = names.iter().cloned();
        let names =
            names.map(|name| Chosen { name, of: Of::Types { market: true, custom: false } }).collect();
        Self { types: SmallVec::from_slice(types), names }
    }

    /// The names, in the request's order.
    pub fn names(&self) -> Vec<&Name> {
        self.names.iter().map(|chosen| &chosen.name).collect()
    }

    /// The names that one of its types has.
    pub fn names_of(&self, kind: Kind) -> Vec<&Name> {
        self.names.iter().filter(|chosen| chosen.is_of(kind)).map(|chosen| &chosen.name).collect()
    }
}

/// A subscribe.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    /// To what.
    pub selection: Selection,
    /// On which terms.
    pub options: Options,
    /// The last sequence numbers that the client has seen, by symbol, of the request's first type. Only a stream of server-sent events may
    /// have others then.
    pub resume: Resume,
    /// The client comes back and has missed something of everything that is not in `resume`.
    pub is_return: bool,
}

/// What a client asks for in its URL, or why it gets nothing of it; in a dialect that takes what fits, why it doesn't get some, and what it asks for
/// besides.
pub type FirstRequest = Box<[Result<Subscribe, Refusal>]>;

/// A request's `id`: a JSON number or string, exactly as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(pub(super) Box<str>);

impl Id {
    /// The JSON, as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text that shows who a client is, as the client sent it: a JSON Web Token or an API key. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: Box<str>,
    /// What came beside it where a dialect has two texts: a part of the token, if it is an API key that has a secret.
    secret: Option<Box<str>>,
}

impl Token {
    /// A token that is yet to be verified.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), secret: None }
    }

    /// A token, and perhaps the secret of an API key.
    pub fn with_secret(text: impl Into<Box<str>>, secret: Option<impl Into<Box<str>>>) -> Self {
        Self { text: text.into(), secret: secret.map(Into::into) }
    }

    /// The text, for whoever verifies it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Key and secret as a file of API keys has them, if there is a secret.
    pub fn as_pair(&self) -> Option<String> {
        self.secret.as_ref().map(|secret| format!("{}:{secret}", self.text))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The last `seq` that the client has seen of each symbol.
pub type Resume = Vec<(Symbol, u64)>;
