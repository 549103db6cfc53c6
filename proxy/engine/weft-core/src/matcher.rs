//! Whether one of several matches holds, where no precedence is asked for: limits and faults.

use weft_model::section::{Match, PathMatch};

use crate::caller::Local;
use crate::pattern::{self, InvalidRule};
use crate::route::{Conditions, Fields, Request, has_prefix};

/// One of several matches, or everything.
#[derive(Clone, Debug, Default)]
pub struct Matcher(Box<[(Option<Path>, Conditions)]>);

/// A path of a rule that has no precedence.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    Exact(Box<str>),
    Prefix(Box<str>),
    Regex(regex::Regex),
}

// === impl Matcher ===

impl Matcher {
    /// Of the rule of this name; no match at all is every request.
    pub fn new(rule: &str, matches: &[Match], local: &Local) -> Result<Matcher, InvalidRule> {
        let one = |matched: &Match| {
            let path = matched.path.as_ref();
            Ok((
                path.map(|path| Path::new(rule, path)).transpose()?,
                Conditions::new(rule, matched, local)?,
            ))
        };
        Ok(Matcher(matches.iter().map(one).collect::<Result<_, _>>()?))
    }

    /// Whether any match looks at the path: then an ambiguous one must not come here.
    pub fn looks_at_path(&self) -> bool {
        self.0.iter().any(|(path, _)| path.is_some())
    }

    /// Whether it holds; the host is not looked at.
    pub fn holds(&self, request: Request<'_>, fields: &impl Fields) -> bool {
        let one = |(path, rest): &(Option<Path>, Conditions)| {
            path.as_ref().is_none_or(|path| path.matches(request.path))
                && rest.hold(request, fields)
        };
        self.0.is_empty() || self.0.iter().any(one)
    }
}

// === impl Path ===

impl Path {
    pub(crate) fn new(rule: &str, path: &PathMatch) -> Result<Path, InvalidRule> {
        Ok(match path {
            PathMatch::Exact(text) => Path::Exact(text.as_str().into()),
            PathMatch::Prefix(text) => Path::Prefix(text.trim_end_matches('/').into()),
            PathMatch::Regex(text) => Path::Regex(pattern::compile(rule, text)?),
        })
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Path::Exact(exact) => **exact == *path,
            Path::Prefix(prefix) => has_prefix(path, prefix),
            Path::Regex(regex) => regex.is_match(path),
        }
    }
}

/// A request without fields: what a connection that carries bytes is to a matcher.
#[derive(Clone, Copy, Debug)]
pub struct NoFields;

impl Fields for NoFields {
    fn field(&self, _: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::local;

    fn request(path: &str) -> Request<'_> {
        Request {
            host: "",
            method: "GET",
            path,
            caller: None,
        }
    }

    #[test]
    fn one_of_several_is_enough_and_none_at_all_is_every_request() {
        let path = |path| Match {
            path: Some(path),
            ..Match::default()
        };
        let both = [
            path(PathMatch::Prefix("/a/".to_owned())),
            path(PathMatch::Regex("/b[0-9]".to_owned())),
        ];
        let matcher = Matcher::new("x", &both, &local()).expect("valid");
        let held: Vec<_> = ["/a", "/a/x", "/ab", "/b7", "/b77"]
            .into_iter()
            .filter(|path| matcher.holds(request(path), &NoFields))
            .collect();
        assert_eq!(held, ["/a", "/a/x", "/b7"]);
        assert!(matcher.looks_at_path());
        let every = Matcher::new("x", &[], &local()).expect("valid");
        assert!(every.holds(request("/"), &NoFields) && !every.looks_at_path());
    }

    #[test]
    fn all_of_one_match_must_hold() {
        let matched = Match {
            path: Some(PathMatch::Exact("/a".to_owned())),
            methods: vec!["POST".to_owned()],
            ..Match::default()
        };
        let matcher = Matcher::new("x", &[matched], &local()).expect("valid");
        assert!(!matcher.holds(request("/a"), &NoFields));
        let post = Request {
            method: "POST",
            ..request("/a")
        };
        assert!(matcher.holds(post, &NoFields));
    }
}
