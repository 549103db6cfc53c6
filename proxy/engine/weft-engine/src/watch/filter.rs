//! Which requests somebody wants to hear of.

use std::ops::RangeInclusive;

use weft_core::reason::Reason;
use weft_model::frame::TapFilter;

use crate::observe::{Direction, Label, RequestKey};

/// Fields of a request that are never told, whoever asks: they let one act as somebody else.
const SECRET: [&str; 8] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-forwarded-client-cert",
];

/// What a request is matched by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) key: &'a RequestKey,
    pub(crate) method: &'a [u8],
    pub(crate) path: &'a [u8],
}

/// All that is said has to hold; of a list, one item.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    direction: Option<Direction>,
    services: Vec<Label>,
    callers: Vec<Label>,
    routes: Vec<String>,
    codes: Vec<RangeInclusive<u16>>,
    reasons: Vec<Reason>,
    failed: bool,
    methods: Vec<String>,
    path_prefix: String,
    /// The share that is told.
    pub(crate) sample: f64,
    /// Further fields to tell, in lower case.
    pub(crate) fields: Vec<String>,
}

// === impl Filter ===

impl Filter {
    /// From a frame; the error says which field is at fault.
    pub(crate) fn parse(asked: &TapFilter) -> Result<Self, String> {
        let labels = |names: &[String]| names.iter().map(|name| Label::of(name)).collect();
        let too_long = [
            &asked.services,
            &asked.callers,
            &asked.routes,
            &asked.methods,
            &asked.fields,
        ]
        .into_iter()
        .flatten()
        .chain([&asked.path_prefix])
        .any(|text| text.len() > 1_024);
        let items = asked.services.len()
            + asked.callers.len()
            + asked.routes.len()
            + asked.codes.len()
            + asked.methods.len()
            + asked.fields.len();
        if too_long || items > 64 {
            return Err("a filter has at most 64 items of 1,024 bytes".to_owned());
        }
        let direction = match asked.direction.as_str() {
            "" => None,
            "outbound" => Some(Direction::Outbound),
            "inbound" => Some(Direction::Inbound),
            "gateway" => Some(Direction::Gateway),
            other => {
                return Err(format!(
                    "direction {other:?}: expected outbound, inbound or gateway"
                ));
            }
        };
        let codes = asked.codes.iter().map(|text| codes(text));
        let reasons = asked.reasons.iter().map(|word| {
            Reason::parse(word.as_bytes())
                .ok_or_else(|| format!("reason {word:?}: there is no such word"))
        });
        let fields: Vec<String> = asked
            .fields
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        if let Some(secret) = fields.iter().find(|name| SECRET.contains(&name.as_str())) {
            return Err(format!("field {secret:?} is never told"));
        }
        if !(0.0..=1.0).contains(&asked.sample) {
            return Err(format!(
                "sample {}: expected a share from 0 to 1",
                asked.sample
            ));
        }
        Ok(Self {
            direction,
            services: labels(&asked.services),
            callers: labels(&asked.callers),
            routes: asked.routes.clone(),
            codes: codes.collect::<Result<_, _>>()?,
            reasons: reasons.collect::<Result<_, _>>()?,
            failed: asked.failed,
            methods: asked.methods.clone(),
            path_prefix: asked.path_prefix.clone(),
            sample: asked.sample,
            fields,
        })
    }

    /// Whether a rule is named, or the document it stands in.
    fn of_route(&self, rule: &str) -> bool {
        let within = |route: &String| {
            let rest = rule.strip_prefix(route.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.routes.iter().any(within)
    }

    /// Whether a request is one of those.
    pub(crate) fn matches(&self, facts: &Facts<'_>) -> bool {
        let key = facts.key;
        let one_of = |labels: &[Label], label| labels.is_empty() || labels.contains(&label);
        let code = |codes: &RangeInclusive<u16>| codes.contains(&key.code);
        let method = |method: &String| method.as_bytes() == facts.method;
        let reasons = &self.reasons;
        self.direction
            .is_none_or(|direction| direction == key.direction)
            && one_of(&self.services, key.destination)
            && one_of(&self.callers, key.source)
            && (self.routes.is_empty() || self.of_route(&key.route.text()))
            && (self.codes.is_empty() || self.codes.iter().any(code))
            && (reasons.is_empty() || key.reason.is_some_and(|reason| reasons.contains(&reason)))
            && (!self.failed || key.reason.is_some() || key.code >= 500)
            && (self.methods.is_empty() || self.methods.iter().any(method))
            && facts.path.starts_with(self.path_prefix.as_bytes())
    }
}

/// `503` or `5xx`.
fn codes(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("code {text:?}: expected a status such as 503, or a class such as 5xx");
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().map_err(|_| wrong())?;
        return (1..=5)
            .contains(&class)
            .then(|| class * 100..=class * 100 + 99)
            .ok_or_else(wrong);
    }
    let code: u16 = text.parse().map_err(|_| wrong())?;
    (100..=999)
        .contains(&code)
        .then_some(code..=code)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use weft_http1::Method;

    use super::*;

    fn key() -> RequestKey {
        RequestKey {
            direction: Direction::Inbound,
            source: Label::of("shop/web"),
            destination: Label::of("shop/api"),
            route: Label::of("shop/api-split/canary"),
            method: Method::Get,
            code: 503,
            reason: Some(Reason::Overloaded),
        }
    }

    fn filter(change: impl FnOnce(&mut TapFilter)) -> Filter {
        let mut asked = TapFilter::default();
        change(&mut asked);
        Filter::parse(&asked).expect("a good filter")
    }

    #[test]
    fn all_that_is_said_has_to_hold_and_of_a_list_one() {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let key = key();
        let facts = Facts {
            key: &key,
            method: b"GET",
            path: b"/v2/x",
        };
        assert!(filter(|_| {}).matches(&facts));
        for (holds, made) in [
            (
                true,
                filter(|f| f.services = words(&["shop/x", "shop/api"])),
            ),
            (false, filter(|f| f.services = words(&["shop/x"]))),
            (false, filter(|f| f.callers = words(&["shop/x"]))),
            (false, filter(|f| f.routes = words(&["shop/x", "shop/api"]))),
            (true, filter(|f| f.routes = words(&["shop/api-split"]))),
            (
                true,
                filter(|f| f.routes = words(&["shop/api-split/canary"])),
            ),
            (true, filter(|f| f.codes = words(&["404", "5xx"]))),
            (false, filter(|f| f.codes = words(&["4xx"]))),
            (true, filter(|f| f.reasons = words(&["overloaded"]))),
            (false, filter(|f| f.reasons = words(&["denied"]))),
            (true, filter(|f| f.failed = true)),
            (true, filter(|f| f.methods = words(&["GET"]))),
            (false, filter(|f| f.methods = words(&["get"]))),
            (true, filter(|f| f.path_prefix = "/v2".to_owned())),
            (false, filter(|f| f.path_prefix = "/v3".to_owned())),
            (true, filter(|f| f.direction = "inbound".to_owned())),
            (false, filter(|f| f.direction = "gateway".to_owned())),
        ] {
            assert_eq!(made.matches(&facts), holds, "{made:?}");
        }
    }

    #[test]
    fn what_means_nothing_and_what_is_secret_is_refused() {
        let refused = |change: fn(&mut TapFilter)| {
            let mut asked = TapFilter::default();
            change(&mut asked);
            Filter::parse(&asked).expect_err("refused")
        };
        assert!(refused(|f| f.codes = vec!["6xx".to_owned()]).contains("6xx"));
        assert!(refused(|f| f.codes = vec!["ok".to_owned()]).contains("ok"));
        assert!(refused(|f| f.reasons = vec!["tired".to_owned()]).contains("tired"));
        assert!(refused(|f| f.fields = vec!["Authorization".to_owned()]).contains("authorization"));
        assert!(refused(|f| f.direction = "up".to_owned()).contains("up"));
        assert!(refused(|f| f.sample = 2.0).contains('2'));
    }
}
