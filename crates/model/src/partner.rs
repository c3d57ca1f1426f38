//! What a provider gives to one partner at the most, whatever agreements allow.

use crate::error::{Error, ErrorCode, Result};
use crate::id::ParticipantId;
use crate::limits::{PARTNER_BANDWIDTH_BYTES_PER_S_MIN, PARTNER_VOLUME_BYTES_MAX, QUERIES_MAX};
use serde::{Deserialize, Serialize};

/// Limits of one partner; what isn't stated isn't limited beyond the bounds that all share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerLimits {
    /// Bytes of answers in a second, over all reads of the partner together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_bytes_per_s: Option<u64>,
    /// Plans and reads at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Bytes of answers in a day of UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_bytes_per_day: Option<u64>,
}

/// The document of an administrative act that limits a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitedPartner {
    /// Who is limited.
    pub partner: ParticipantId,
    /// By what, in place of what was before.
    pub limits: PartnerLimits,
}

/// The document of an administrative act that gives a partner extracts of our log over the wire, or
/// none any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerExtracts {
    /// Who.
    pub partner: ParticipantId,
    /// May it have the extracts of its agreements?
    pub allowed: bool,
}

impl PartnerLimits {
    /// The limits, if they are usable.
    ///
    /// # Errors
    /// `malformed`: a bandwidth below [`PARTNER_BANDWIDTH_BYTES_PER_S_MIN`], a number of reads that
    /// is none or more than run here at a time, a volume that is none or beyond
    /// [`PARTNER_VOLUME_BYTES_MAX`].
    pub fn check(self) -> Result<PartnerLimits> {
        let bad = |detail: String| Err(Error::new(ErrorCode::Malformed, detail));
        if let Some(rate) = self.bandwidth_bytes_per_s
            && !(PARTNER_BANDWIDTH_BYTES_PER_S_MIN..=PARTNER_VOLUME_BYTES_MAX).contains(&rate)
        {
            return bad(format!(
                "a bandwidth of {rate} bytes a second is below {PARTNER_BANDWIDTH_BYTES_PER_S_MIN} or beyond {PARTNER_VOLUME_BYTES_MAX}"
            ));
        }
        if let Some(reads) = self.concurrency
            && (reads == 0 || usize::try_from(reads).map_or(true, |reads| reads > QUERIES_MAX))
        {
            return bad(format!("{reads} reads at a time are none, or more than the {QUERIES_MAX} that run here"));
        }
        if let Some(volume) = self.volume_bytes_per_day
            && !(1..=PARTNER_VOLUME_BYTES_MAX).contains(&volume)
        {
            return bad(format!("a volume of {volume} bytes a day is none, or beyond {PARTNER_VOLUME_BYTES_MAX}"));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_usable_or_refused() {
        let limits = |bandwidth, reads, volume| PartnerLimits {
            bandwidth_bytes_per_s: bandwidth,
            concurrency: reads,
            volume_bytes_per_day: volume,
        };
        for good in [limits(None, None, None), limits(Some(16 * 1024), Some(1), Some(1)), limits(None, Some(128), None)]
        {
            assert_eq!(good.clone().check().unwrap(), good);
        }
        for bad in [
            limits(Some(1), None, None),
            limits(None, Some(0), None),
            limits(None, Some(129), None),
            limits(None, None, Some(0)),
            limits(None, None, Some(u64::MAX)),
        ] {
            assert_eq!(bad.clone().check().unwrap_err().code, ErrorCode::Malformed, "{bad:?}");
        }
        assert!(serde_json::from_str::<PartnerLimits>("{\"bandwith\": 5}").is_err());
    }

    #[test]
    fn each_limit_is_usable_up_to_its_bounds() {
        let least = PARTNER_BANDWIDTH_BYTES_PER_S_MIN;
        let most = PARTNER_VOLUME_BYTES_MAX;
        for (rate, usable) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
            let limits = PartnerLimits { bandwidth_bytes_per_s: Some(rate), ..PartnerLimits::default() };
            assert_eq!(limits.check().is_ok(), usable, "{rate}");
        }
        let places = u32::try_from(QUERIES_MAX).unwrap();
        for (reads, usable) in [(0, false), (1, true), (places, true), (places + 1, false)] {
            let limits = PartnerLimits { concurrency: Some(reads), ..PartnerLimits::default() };
            assert_eq!(limits.check().is_ok(), usable, "{reads}");
        }
        for (volume, usable) in [(0, false), (1, true), (most, true), (most + 1, false)] {
            let limits = PartnerLimits { volume_bytes_per_day: Some(volume), ..PartnerLimits::default() };
            assert_eq!(limits.check().is_ok(), usable, "{volume}");
        }
    }
}
