//! The rules of a running stack: which calls they hit, and how often they did.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{FaultsFile, Rule, Service};
use crate::aws::named::Named;

/// A rule that applies to the call at hand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) fault: String,
    pub(crate) delay: Duration,
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) bytes: u64,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) token: Option<String>,
    share: f64,
    seed: u64,
    rule: u64,
}

impl Hit {
    fn new(rule: &Rule, seed: u64, index: u64, call: u64) -> Self {
        let code = match (&rule.code, rule.fault.as_str()) {
            (Some(code), _) => code,
            (None, "partial") => "ProvisionedThroughputExceededException",
            (None, "refuse_rows") => "ERR_INVALID_REQUEST",
            (None, "invalidate_channel") => "ERR_CHANNEL_MUST_BE_REOPENED",
            (None, _) => "InternalFailure",
        };
        Self {
            fault: rule.fault.clone(),
            delay: rule.delay.unwrap_or_default(),
            status: rule
                .status
                .unwrap_or(if rule.fault == "refuse_rows" { 400 } else { 500 }),
            code: code.to_owned(),
            bytes: rule.bytes.unwrap_or_default(),
            retry_after: rule.retry_after,
            token: rule.token.clone(),
            share: rule.share.unwrap_or(0.5),
            seed: seed ^ call.wrapping_mul(0xD6E8_FEB8_6659_FD93),
            rule: index,
        }
    }

    /// A fault that goes on from an earlier hit.
    pub(crate) fn of(fault: &str) -> Self {
        Self {
            fault: fault.to_owned(),
            delay: Duration::ZERO,
            status: 500,
            code: String::new(),
            bytes: 0,
            retry_after: None,
            token: None,
            share: 0.0,
            seed: 0,
            rule: 0,
        }
    }

    /// Whether it takes this part of the call, by its `share`; the same for the same seed, rule and call.
    pub(crate) fn draws(&self, part: u64) -> bool {
        chance(self.seed, self.rule, part, self.share)
    }
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    seen: AtomicU64,
    fired: AtomicU64,
}

/// The rules of a running stack.
#[derive(Debug, Default)]
pub struct Faults {
    seed: u64,
    rules: Vec<Armed>,
}

/// How often a rule fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// Its place in the file, from 1.
    pub rule: usize,
    /// Its service.
    pub service: Service,
    /// Its operation, as written.
    pub operation: String,
    /// Its fault.
    pub fault: String,
    /// Calls that matched it.
    pub calls: u64,
    /// How many of them it hit.
    pub fired: u64,
}

impl Faults {
    pub(crate) fn new(file: &FaultsFile) -> Self {
        let arm = |rule: &Rule| Armed {
            rule: rule.clone(),
            seen: AtomicU64::new(0),
            fired: AtomicU64::new(0),
        };
        Self {
            seed: file.seed,
            rules: file.rules.iter().map(arm).collect(),
        }
    }

    /// How often each rule fired so far, in the file's order.
    #[must_use]
    pub fn fired(&self) -> Vec<Fired> {
        let told = |(index, armed): (usize, &Armed)| Fired {
            rule: index + 1,
            service: armed.rule.service,
            operation: armed.rule.operation.clone(),
            fault: armed.rule.fault.clone(),
            calls: armed.seen.load(Ordering::Acquire),
            fired: armed.fired.load(Ordering::Acquire),
        };
        self.rules.iter().enumerate().map(told).collect()
    }

    /// Whether any rule has this fault.
    pub(crate) fn has(&self, service: Service, fault: &str) -> bool {
        let has = |rule: &Rule| rule.service == service && rule.fault == fault;
        self.rules.iter().any(|armed| has(&armed.rule))
    }

    /// Whether any rule is about this service.
    pub(crate) fn concern(&self, service: Service) -> bool {
        self.rules.iter().any(|armed| armed.rule.service == service)
    }

    /// Whether the layer has to know what the calls of this service are about.
    pub(crate) fn want_names(&self, service: Service) -> bool {
        let wants = |rule: &Rule| rule.resource.is_some() || rule.fault == "deny";
        self.rules
            .iter()
            .any(|armed| armed.rule.service == service && wants(&armed.rule))
    }

    /// The rule with this fault that hits the call, if one does. Each call counts.
    pub(crate) fn hit(&self, service: Service, operation: &str, fault: &str) -> Option<Hit> {
        let wanted = |rule: &Rule| rule.fault == fault;
        self.hits(service, operation, wanted).into_iter().next()
    }

    /// As [`Faults::hit`], for a rule about these rows. Calls with other rows do not count.
    pub(crate) fn hit_rows(&self, operation: &str, fault: &str, rows: &[u8]) -> Option<Hit> {
        let is_in = |text: &String| memchr::memmem::find(rows, text.as_bytes()).is_some();
        let wanted = |rule: &Rule| rule.fault == fault && rule.contains.as_ref().is_some_and(is_in);
        self.hits(Service::Snowflake, operation, wanted)
            .into_iter()
            .next()
    }

    /// The rules of the layer that hit the call, in order.
    pub(crate) fn layered(&self, service: Service, operation: &str, named: &Named) -> Vec<Hit> {
        self.hits(service, operation, |rule| {
            let kind = rule.kind();
            kind.is_some_and(|kind| kind.in_layer && kind.knows(operation))
                && rule.resource.as_ref().is_none_or(|resource| named.has(resource))
        })
    }

    fn hits(&self, service: Service, operation: &str, wanted: impl Fn(&Rule) -> bool) -> Vec<Hit> {
        let mut hits = Vec::new();
        for (index, armed) in (0_u64..).zip(&self.rules) {
            let rule = &armed.rule;
            let matches = rule.service == service
                && (rule.operation == "*" || rule.operation == operation)
                && wanted(rule);
            if !matches {
                continue;
            }
            let call = armed.seen.fetch_add(1, Ordering::AcqRel);
            if call < rule.after || !chance(self.seed, index, call, rule.probability) {
                continue;
            }
            let within = |fired: u64| rule.times.is_none_or(|times| fired < times).then_some(fired + 1);
            if armed
                .fired
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, within)
                .is_ok()
            {
                hits.push(Hit::new(rule, self.seed, index, call));
                // The rules behind it do not see a call that is answered here.
                if !rule.goes_on() {
                    break;
                }
            }
        }
        hits
    }
}

/// SplitMix64 over seed, rule and call, as a number from 0 to 1.
fn chance(seed: u64, rule: u64, call: u64, probability: f64) -> bool {
    let mut state =
        seed ^ rule.wrapping_mul(0xA24B_AED4_963E_E407) ^ call.wrapping_mul(0x9FB2_1C65_1E98_DF25);
    state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^= state >> 31;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let drawn = (state >> 11) as f64 / (1_u64 << 53) as f64;
    drawn < probability
}
