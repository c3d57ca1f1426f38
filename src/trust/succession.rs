//! How a log is closed and the next one begun: a request by the agreement key in force, which the
//! authority confirms in its register.

use super::authority::AuthorityRegister;
use super::jws;
use super::keys::SigningKey;
use super::register::VerifiedRegister;
use super::renewal::{Claims, open_signed};
use perron_model::limits::{CLOSED_LOGS_MAX, CLOSED_LOGS_MS_MIN};
use perron_model::participant::Participant;
use perron_model::register::SignedRegister;
use perron_model::succession::{ClosedLog, SUCCESSION_TYP, SuccessionRequest, next_origin};
use perron_model::{Error, ErrorCode, ParticipantId, Result, Timestamp, canonical};

/// Signs a request, as it travels (compact JWS).
pub fn sign(request: &SuccessionRequest, agreement: &SigningKey) -> Result<String> {
    jws::sign_compact(agreement, SUCCESSION_TYP, &canonical::to_bytes(request)?)
}

/// Reads a request that came in at `now`: of a participant in force, signed just now by its
/// agreement key, and sound in itself.
pub fn open(text: &str, register: &VerifiedRegister, now: Timestamp) -> Result<SuccessionRequest> {
    let request: SuccessionRequest = open_signed(text, SUCCESSION_TYP, register, now, |r: &SuccessionRequest| {
        Claims { space: r.space.clone(), participant: r.participant.clone(), time: r.time }
    })?;
    let closes = &request.closes;
    if closes.held < closes.size || next_origin(&closes.origin)? != request.opens {
        return Err(Error::malformed("the request doesn't close one log and open the next"));
    }
    Ok(request)
}

/// Has the register confirmed this succession before?
pub fn is_confirmed(participant: &Participant, request: &SuccessionRequest) -> bool {
    let same = |log: &ClosedLog| ClosedLog { closed: request.closes.closed, ..log.clone() } == request.closes;
    participant.log_origin == request.opens && participant.closed_logs.last().is_some_and(same)
}

impl AuthorityRegister {
    /// Closes a participant's log, and names the next one in its place.
    ///
    /// # Errors
    /// `message_conflict` where another log than the one to close is in force, `too_large` where as many
    /// were closed as a register tells of, `overloaded` where the one before was closed just now.
    pub fn succeed(&mut self, request: &SuccessionRequest, now: Timestamp, key: &SigningKey) -> Result<SignedRegister> {
        let id: &ParticipantId = &request.participant;
        let mut participant = self.changeable(id)?;
        if participant.log_origin != request.closes.origin {
            let detail = format!("the log in force of `{id}` is `{}`", participant.log_origin);
            return Err(Error::new(ErrorCode::MessageConflict, detail));
        }
        if participant.closed_logs.len() >= CLOSED_LOGS_MAX {
            let detail = format!("{CLOSED_LOGS_MAX} logs of `{id}` were closed, and the register tells of no more");
            return Err(Error::new(ErrorCode::TooLarge, detail));
        }
        if let Some(before) = participant.closed_logs.last().filter(|b| now < b.closed.plus_millis(CLOSED_LOGS_MS_MIN))
        {
            let detail = format!("a log of `{id}` was closed at {}; the next one may be an hour later", before.closed);
            return Err(Error::new(ErrorCode::Overloaded, detail));
        }
        participant.closed_logs.push(ClosedLog { closed: now, ..request.closes.clone() });
        participant.log_origin.clone_from(&request.opens);
        self.sign(Some(participant), now, key)
    }
}

/// Refuses a register that names another log of a participant than the one before without closing
/// that one, or that forgets one that was closed.
pub(super) fn check_follows(new: &Participant, old: &Participant) -> Result<()> {
    let kept = new.closed_logs.get(..old.closed_logs.len()) == Some(&old.closed_logs[..]);
    let closed = new.log_origin == old.log_origin
        || new.closed_logs.get(old.closed_logs.len()).is_some_and(|log| log.origin == old.log_origin);
    if kept && closed {
        return Ok(());
    }
    let detail = format!("`{}` has another log without closing the one before", new.id);
    Err(Error::new(ErrorCode::RegisterInvalid, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::testing::{World, at, id, space};
    use perron_model::Digest;
    use perron_model::participant::{KeyUse, Status};

    fn request() -> SuccessionRequest {
        let closes = ClosedLog {
            origin: "liege/huy/1".to_owned(),
            size: 10,
            root: Digest::of(b"root"),
            held: 14,
            genesis: Digest::of(b"first"),
            closed: at(20),
        };
        SuccessionRequest {
            space: space(),
            participant: id("huy"),
            closes,
            opens: "liege/huy/2".to_owned(),
            time: at(20),
        }
    }

    #[test]
    fn a_log_is_closed_once_and_the_register_remembers_it() {
        let mut world = World::new(&["huy", "seraing"]);
        let authority = SigningKey::from_seed(&world.authority_key().seed());
        let agreement = world.keys("huy").signing_key(KeyUse::Agreement).unwrap();
        let text = sign(&request(), agreement).unwrap();
        let opened = open(&text, &world.verified(), at(20)).unwrap();
        assert!(!is_confirmed(world.register.participant(&id("huy")).unwrap(), &opened));
        let before = world.verified();
        let signed = world.register.succeed(&opened, at(30), &authority).unwrap();
        let after = VerifiedRegister::verify(&signed, &authority.public(), Some(&before)).unwrap();
        let huy = after.participant(&id("huy")).unwrap();
        assert_eq!(huy.origins().collect::<Vec<_>>(), ["liege/huy/2", "liege/huy/1"]);
        assert_eq!((huy.closed_logs[0].held, huy.closed_logs[0].lost(), huy.closed_logs[0].closed), (14, 4, at(30)));
        assert!(is_confirmed(huy, &opened));
        let again = world.register.succeed(&opened, at(40), &authority).unwrap_err();
        assert_eq!(again.code, ErrorCode::MessageConflict);
    }

    #[test]
    fn a_member_that_closes_log_after_log_can_still_be_revoked() {
        let mut world = World::new(&["huy", "seraing"]);
        let authority = SigningKey::from_seed(&world.authority_key().seed());
        let hours = |count: usize| at(i64::try_from(count).unwrap() * CLOSED_LOGS_MS_MIN);
        let of = |generation: usize| {
            let mut request = request();
            request.closes.origin = format!("liege/huy/{generation}");
            request.opens = format!("liege/huy/{}", generation + 1);
            request
        };
        for generation in 1..=CLOSED_LOGS_MAX {
            let now = hours(generation);
            world.register.succeed(&of(generation), now, &authority).unwrap();
            // At once, there is no further one.
            let soon = now.plus_millis(CLOSED_LOGS_MS_MIN - 1);
            let again = world.register.clone().succeed(&of(generation + 1), soon, &authority).unwrap_err();
            let due = if generation < CLOSED_LOGS_MAX { ErrorCode::Overloaded } else { ErrorCode::TooLarge };
            assert_eq!(again.code, due, "{generation}");
        }
        let now = hours(CLOSED_LOGS_MAX + 1);
        let further = world.register.succeed(&of(CLOSED_LOGS_MAX + 1), now, &authority).unwrap_err();
        assert_eq!(further.code, ErrorCode::TooLarge);
        // Another member's log isn't touched by it, and who closed so many can be shut out.
        let mut other = of(1);
        other.participant = id("seraing");
        (other.closes.origin, other.opens) = ("liege/seraing/1".to_owned(), "liege/seraing/2".to_owned());
        world.register.succeed(&other, now, &authority).unwrap();
        world.register.set_status(&id("huy"), Status::Revoked, now, &authority).unwrap();
    }

    #[test]
    fn who_asks_and_what_for_is_checked() {
        let world = World::new(&["huy", "seraing"]);
        let key = |name: &str| world.keys(name).signing_key(KeyUse::Agreement).unwrap();
        let refused = |request: &SuccessionRequest, by: &str, now| {
            open(&sign(request, key(by)).unwrap(), &world.verified(), at(now)).unwrap_err().code
        };
        assert_eq!(refused(&request(), "seraing", 20), ErrorCode::SignatureInvalid);
        assert_eq!(refused(&request(), "huy", 20_000_000), ErrorCode::SignatureInvalid);
        let skips = SuccessionRequest { opens: "liege/huy/3".to_owned(), ..request() };
        let mut hides = request();
        hides.closes.held = 9;
        for bad in [skips, hides] {
            assert_eq!(refused(&bad, "huy", 20), ErrorCode::Malformed);
        }
    }

    #[test]
    fn a_register_neither_forgets_a_closed_log_nor_swaps_one_unseen() {
        let mut world = World::new(&["huy"]);
        let authority = SigningKey::from_seed(&world.authority_key().seed());
        let first = world.register.participant(&id("huy")).unwrap().clone();
        world.register.succeed(&request(), at(30), &authority).unwrap();
        let second = world.register.participant(&id("huy")).unwrap().clone();
        check_follows(&second, &first).unwrap();
        check_follows(&second, &second).unwrap();
        let mut swapped = first.clone();
        swapped.log_origin = "liege/huy/2".to_owned();
        let mut forgets = second.clone();
        forgets.closed_logs.clear();
        for (new, old) in [(&swapped, &first), (&forgets, &second), (&first, &second)] {
            assert_eq!(check_follows(new, old).unwrap_err().code, ErrorCode::RegisterInvalid);
        }
    }
}
