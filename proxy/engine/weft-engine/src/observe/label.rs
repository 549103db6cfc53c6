//! Names in metrics, interned once so that counting never touches text.

use std::collections::HashMap;
use std::sync::{OnceLock, RwLock};

/// So many different names are told apart; what comes later is all called `overflow`.
const MOST: usize = 100_000;

/// A name in metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Label(u32);

struct Names {
    by_text: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
}

fn names() -> &'static RwLock<Names> {
    static NAMES: OnceLock<RwLock<Names>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let texts: Vec<Box<str>> = vec!["".into(), "overflow".into()];
        let by_text = texts.iter().cloned().zip(0..).collect();
        RwLock::new(Names { by_text, texts })
    })
}

// === impl Label ===

impl Label {
    /// No name.
    pub(crate) const NONE: Self = Self(0);

    /// What is not told apart any more.
    pub(crate) const OVERFLOW: Self = Self(1);

    /// The label of a name. Not for the request path.
    pub(crate) fn of(text: &str) -> Self {
        let known = names()
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .by_text
            .get(text)
            .copied();
        if let Some(known) = known {
            return Self(known);
        }
        let mut names = names()
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if names.texts.len() >= MOST {
            return Self::OVERFLOW;
        }
        let next = u32::try_from(names.texts.len()).expect("bounded above");
        let id = *names.by_text.entry(text.into()).or_insert(next);
        if id == next {
            names.texts.push(text.into());
        }
        Self(id)
    }

    /// The name again.
    pub(crate) fn text(self) -> Box<str> {
        let names = names()
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        names.texts[self.0 as usize].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_label_and_reads_back() {
        let label = Label::of("shop/api");
        assert_eq!(label, Label::of("shop/api"));
        assert_ne!(label, Label::of("shop/web"));
        assert_eq!(&*label.text(), "shop/api");
        assert_eq!(Label::of(""), Label::NONE);
    }
}
