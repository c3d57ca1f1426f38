//! The main job, step by step. A step is true only when what it says was seen.

use crate::cli::demo::world::{Who, World, copy, free_addresses};
use crate::cli::demo::{Teller, forger};
use perron_gate::Clock;
use perron_model::{Error, ErrorCode, Result, Timestamp};
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::time::Duration;

const SPACE: &str = "eaux-ardennes";
const ROWS_PURPOSE: &str = "https://w3id.org/dpv#ImprovePublicServices";
const TOTALS_PURPOSE: &str = "https://w3id.org/dpv#PublicBenefit";
const LEGAL_BASIS: &str = "https://w3id.org/dpv#PublicInterest";
/// How long the short agreement is valid, in seconds.
const SHORT_S: i64 = 5;
/// Nights of March 2015 with water at every hour before five, among the commune's buildings.
const NIGHT_FLOWS: &str = "SELECT meter, building, CAST(start_local AT TIME ZONE 'Europe/Brussels' AS DATE) AS night, \
     count(litres) AS hours, round(min(litres), 1) AS litres_min, round(avg(litres), 1) AS litres_mean FROM building_water \
     WHERE date_part('hour', start_local AT TIME ZONE 'Europe/Brussels') < 5 \
     GROUP BY meter, building, CAST(start_local AT TIME ZONE 'Europe/Brussels' AS DATE) \
     HAVING count(litres) >= 4 AND min(litres) > 100 ORDER BY night";

fn wrong(detail: impl Into<String>) -> Error {
    Error::new(ErrorCode::Internal, detail)
}

fn field(value: &Json, name: &str) -> Result<String> {
    value.get(name).and_then(Json::as_str).map(str::to_owned).ok_or_else(|| wrong(format!("an answer lacks `{name}`")))
}

fn number(value: &Json, name: &str) -> u64 {
    value.get(name).and_then(Json::as_u64).unwrap_or_default()
}

/// The rows of an answer: one object or several.
fn rows(answer: &Json) -> Vec<&Json> {
    match answer {
        Json::Array(items) => items.iter().collect(),
        one => vec![one],
    }
}

pub fn tell(world: &mut World, teller: &mut Teller<'_>, serve: bool) -> Result<()> {
    enrol(world, teller)?;
    publish(world, teller)?;
    let agreements = negotiate(world, teller)?;
    read(world, teller, &agreements)?;
    check(world, teller)?;
    if serve {
        for who in [Who::Authority, Who::Commune, Who::Inter] {
            world.start(who)?;
        }
        world.leave();
    }
    Ok(())
}

fn enrol(world: &mut World, teller: &mut Teller<'_>) -> Result<()> {
    let addresses: [SocketAddr; 7] = free_addresses()?;
    let [authority, commune, inter, commune_flight, inter_flight, commune_tls, inter_tls] =
        addresses.map(|a| a.to_string());
    let thumbprint = teller.step("authority", || {
        let made = world.of(
            Who::Authority,
            "authority",
            "init",
            &[
                "--name",
                "autorite",
                "--title",
                "Autorité de l'espace de données (exemple)",
                "--enterprise",
                "0316.380.841",
                "--space",
                SPACE,
                "--listen",
                &authority,
            ],
        )?;
        world.start(Who::Authority)?;
        let thumbprint = made.get("parts").map_or_else(|| Err(wrong("no thumbprint")), |p| field(p, "thumbprint"))?;
        Ok((thumbprint.clone(), format!("{authority}, {thumbprint}")))
    })?;
    teller.step("enrol", || {
        let members = [
            (
                Who::Commune,
                "malmedy",
                "Commune de Malmedy (exemple)",
                "0207.402.925",
                Some("63049"),
                &commune,
                [&commune_flight, &commune_tls],
            ),
            (
                Who::Inter,
                "intercommunale",
                "Intercommunale de l'eau (exemple)",
                "0202.239.951",
                None,
                &inter,
                [&inter_flight, &inter_tls],
            ),
        ];
        for (who, name, title, enterprise, nis, endpoint, [flight, tls]) in members {
            let mut args = vec![
                "--name",
                name,
                "--title",
                title,
                "--enterprise",
                enterprise,
                "--space",
                SPACE,
                "--endpoint",
                endpoint,
            ];
            if let Some(nis) = nis {
                args.extend(["--nis", nis]);
            }
            world.of(who, "init", "", &args)?;
            let request = world.dir(who).join("request.jws").display().to_string();
            let answer = world.path(&format!("{}.answer.jws", who.name()));
            world.of(Who::Authority, "authority", "enrol", &[&request, "--out", &answer])?;
            world.of(
                who,
                "join",
                "",
                &[&answer, "--authority", &thumbprint, "--listen", endpoint, "--flight", flight, "--flight-tls", tls],
            )?;
            world.start(who)?;
        }
        let register = world.of(Who::Authority, "authority", "list", &[])?;
        let members = register.get("members").and_then(Json::as_array).map_or(0, Vec::len);
        if members == 3 {
            Ok(((), format!("malmedy {commune}, intercommunale {inter}")))
        } else {
            Err(wrong(format!("{members} members in the register")))
        }
    })
}

fn publish(world: &World, teller: &mut Teller<'_>) -> Result<()> {
    teller.step("publish-household", || {
        let description = world.data("sets/household_water.toml");
        let mut snapshot = world.of(
            Who::Commune,
            "dataset",
            "add",
            &["--description", &description, &world.data("data/household_water_2025-01.csv")],
        )?;
        for month in ["02", "03"] {
            snapshot = world.of(
                Who::Commune,
                "dataset",
                "update",
                &["--description", &description, &world.data(&format!("data/household_water_2025-{month}.csv"))],
            )?;
        }
        let totals = world.data("policies/totals_floor_10.json");
        world.of(
            Who::Commune,
            "offer",
            "add",
            &[
                "household_totals",
                "--dataset",
                "household_water",
                "--policy",
                &totals,
                "--legal-basis",
                LEGAL_BASIS,
                "--legal-text",
                "Code de l'eau (exemple)",
            ],
        )?;
        let rows = number(&snapshot, "rows");
        if rows == 37_800 {
            Ok(((), format!("{rows} ▸ {}", field(&snapshot, "digest")?)))
        } else {
            Err(wrong(format!("{rows} rows instead of 37800")))
        }
    })?;
    teller.step("publish-buildings", || {
        let water = world.of(
            Who::Inter,
            "dataset",
            "add",
            &[
                "--description",
                &world.data("sets/building_water.toml"),
                &world.data("data/building_water_hours_2015.csv"),
            ],
        )?;
        let power = world.of(
            Who::Inter,
            "dataset",
            "add",
            &[
                "--description",
                &world.data("sets/building_electricity.toml"),
                &world.data("data/building_electricity_hours_2016.parquet"),
            ],
        )?;
        let policy = world.data("policies/own_buildings.json");
        world.of(
            Who::Inter,
            "offer",
            "add",
            &[
                "own_buildings",
                "--dataset",
                "building_water",
                "--policy",
                &policy,
                "--legal-basis",
                LEGAL_BASIS,
                "--legal-text",
                "Convention de service (exemple)",
                "--automatic",
                "--to",
                "malmedy",
            ],
        )?;
        Ok(((), format!("building_water {}, building_electricity {}", number(&water, "rows"), number(&power, "rows"))))
    })?;
    teller.step("catalogue", || {
        let seen = |who: Who, of: &str| -> Result<Vec<String>> {
            let answer = world.of(who, "catalogue", "", &[of])?;
            rows(&answer)
                .into_iter()
                .map(|i| i.get("dataset").map_or_else(|| Err(wrong("no set")), |d| field(d, "id")))
                .collect()
        };
        let (by_commune, by_inter) = (seen(Who::Commune, "intercommunale")?, seen(Who::Inter, "malmedy")?);
        if by_commune.len() == 2 && by_inter == ["household_water"] {
            Ok(((), format!("{}; {}", by_commune.join(", "), by_inter.join(", "))))
        } else {
            Err(wrong("a set isn't seen"))
        }
    })
}

/// The agreements that the story makes.
struct Agreements {
    rows: String,
    totals: String,
}

fn finalized(negotiation: &Json) -> Result<String> {
    let state = field(negotiation, "state")?;
    if state == "FINALIZED" {
        field(negotiation, "agreement")
    } else {
        Err(wrong(format!(
            "the negotiation is in {state}: {}",
            negotiation.get("reason").and_then(Json::as_str).unwrap_or("no reason")
        )))
    }
}

fn wait(world: &World, who: Who, negotiation: &str) -> Result<Json> {
    world.of(who, "negotiation", "wait", &[negotiation, "--seconds", "30"])
}

fn negotiate(world: &mut World, teller: &mut Teller<'_>) -> Result<Agreements> {
    let rows = teller.step("negotiate-rows", || {
        let asked = world.of(Who::Commune, "negotiation", "request", &["intercommunale", "own_buildings"])?;
        let done = wait(world, Who::Commune, &field(&asked, "negotiation")?)?;
        let agreement = finalized(&done)?;
        Ok((agreement.clone(), format!("own_buildings ▸ {agreement}")))
    })?;
    let (asked, waiting) = teller.step("negotiate-totals", || {
        let policy = world.data("policies/totals_floor_5.json");
        let asked =
            world.of(Who::Inter, "negotiation", "request", &["malmedy", "household_totals", "--policy", &policy])?;
        let asked = field(&asked, "negotiation")?;
        let waiting = inbox(world, Who::Commune)?;
        Ok(((asked, waiting), "household_totals, floor 5".to_owned()))
    })?;
    teller.step("counter-offer", || {
        world.of(
            Who::Commune,
            "negotiation",
            "counter",
            &[&waiting, "--policy", &world.data("policies/totals_floor_10.json")],
        )?;
        let offered = wait(world, Who::Inter, &asked)?;
        if field(&offered, "state")? != "OFFERED" {
            return Err(wrong("the counter-offer didn't arrive"));
        }
        Ok(((), "household_totals, floor 10".to_owned()))
    })?;
    let totals = teller.step("signed", || {
        world.of(Who::Inter, "negotiation", "approve", &[&asked])?;
        let agreement = finalized(&wait(world, Who::Inter, &asked)?)?;
        finalized(&wait(world, Who::Commune, &waiting)?)?;
        Ok((agreement.clone(), format!("{rows}, {agreement}")))
    })?;
    teller.step("verify-agreement", || {
        let envelope = world.of(Who::Inter, "agreement", "show", &[&totals])?;
        let file = world.path("agreement.json");
        std::fs::write(&file, perron_model::canonical::to_bytes(&envelope)?)
            .map_err(|_| wrong("a file can't be written"))?;
        let key = world.dir(Who::Inter).join("trust/authority.key").display().to_string();
        let verified = world.run(&["agreement", "verify", &file, "--authority", &key])?;
        if field(&verified, "agreement")? == totals {
            Ok(((), format!("{} → {}", field(&verified, "provider")?, field(&verified, "consumer")?)))
        } else {
            Err(wrong("another agreement"))
        }
    })?;
    Ok(Agreements { rows, totals })
}

/// The one negotiation that waits for a person; it arrives when the other side's outbox ran.
fn inbox(world: &World, who: Who) -> Result<String> {
    for _ in 0..100 {
        let waiting = world.of(who, "negotiation", "list", &["--waiting"])?;
        if let Some(first) = rows(&waiting).first() {
            return field(first, "negotiation");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(wrong("nothing waits for a person"))
}

fn user(world: &World, who: Who, name: &str, purpose: &str, agreements: &[&str]) -> Result<String> {
    let mut args = vec![name, "--role", "analyst", "--purpose", purpose, "--token"];
    for agreement in agreements {
        args.extend(["--agreement", agreement]);
    }
    let made = world.of(who, "user", "add", &args)?;
    let file = world.path(&format!("{name}.token"));
    std::fs::write(&file, field(&made, "token")?).map_err(|_| wrong("a file can't be written"))?;
    Ok(file)
}

fn query(world: &World, who: Who, token: &str, agreement: &str, purpose: &str, sql: &str) -> Result<Json> {
    world.of(who, "query", "", &["--agreement", agreement, "--purpose", purpose, "--token", token, sql])
}

fn read(world: &mut World, teller: &mut Teller<'_>, agreements: &Agreements) -> Result<()> {
    let (anne, bruno) = teller.step("users", || {
        let anne = user(world, Who::Commune, "anne", ROWS_PURPOSE, &[&agreements.rows])?;
        let bruno = user(world, Who::Inter, "bruno", TOTALS_PURPOSE, &[&agreements.totals])?;
        Ok(((anne, bruno), "anne, bruno".to_owned()))
    })?;
    teller.step("night-flows", || {
        let answer = query(world, Who::Commune, &anne, &agreements.rows, ROWS_PURPOSE, NIGHT_FLOWS)?;
        let nights: Vec<String> = rows(&answer)
            .into_iter()
            .map(|r| {
                Ok(format!(
                    "{} ({}), {}: {} l/h",
                    field(r, "building")?,
                    field(r, "meter")?,
                    field(r, "night")?,
                    r.get("litres_mean").unwrap_or(&Json::Null)
                ))
            })
            .collect::<Result<_>>()?;
        let expected = ["2923", "b285"];
        let found = expected.iter().all(|m| nights.iter().any(|n| n.contains(m)));
        if nights.len() == 2 && found {
            Ok(((), nights.join("; ")))
        } else {
            Err(wrong(format!("not the two flows: {}", nights.join("; "))))
        }
    })?;
    teller.step("totals", || {
        let sql = "SELECT count(*) AS groups, count(DISTINCT sector) AS sectors, min(households) AS smallest, round(sum(litres)) AS litres FROM household_water";
        let answer = query(world, Who::Inter, &bruno, &agreements.totals, TOTALS_PURPOSE, sql)?;
        let (groups, sectors, smallest) = (number(&answer, "groups"), number(&answer, "sectors"), number(&answer, "smallest"));
        if groups == 27 && sectors == 9 && smallest >= 10 { Ok(((), answer.to_string())) } else { Err(wrong(format!("not the totals expected: {answer}"))) }
    })?;
    teller.step("refused-household", || {
        let answer = query(
            world,
            Who::Inter,
            &bruno,
            &agreements.totals,
            TOTALS_PURPOSE,
            "SELECT household, litres FROM household_water LIMIT 1",
        );
        world.refused(answer, ErrorCode::ColumnNotGranted).map(|d| ((), d))
    })?;
    teller.step("refused-purpose", || {
        let answer = query(
            world,
            Who::Inter,
            &bruno,
            &agreements.totals,
            "https://w3id.org/dpv#Marketing",
            "SELECT sector FROM household_water",
        );
        world.refused(answer, ErrorCode::PurposeNotGranted).map(|d| ((), d))
    })?;
    expired(world, teller)?;
    teller.step("query-log", || {
        let entries = world.of(Who::Commune, "audit", "list", &[])?;
        let kinds = |kind: &str| {
            rows(&entries).into_iter().filter(|e| e.get("kind").and_then(Json::as_str) == Some(kind)).count()
        };
        let (permits, outcomes, refusals, intents) =
            (kinds("permit"), kinds("outcome"), kinds("plan-refusal"), kinds("intent"));
        if permits >= 1 && outcomes >= 1 && refusals >= 1 && intents >= 1 {
            Ok(((), format!("{permits} permit, {outcomes} outcome, {refusals} plan-refusal, {intents} intent")))
        } else {
            Err(wrong("the log lacks an entry"))
        }
    })
}

/// An agreement that is valid for five seconds: read within them, refused after them.
fn expired(world: &mut World, teller: &mut Teller<'_>) -> Result<()> {
    let template = std::fs::read_to_string(world.data("policies/five_seconds.json"))
        .map_err(|_| wrong("a policy can't be read"))?;
    // The five seconds run while the two sides still sign.
    let end = crate::ledger::SystemClock.now().plus_millis(SHORT_S * 1000);
    let file = world.path("five_seconds.json");
    std::fs::write(&file, template.replace("END", &end.to_string())).map_err(|_| wrong("a file can't be written"))?;
    world.of(
        Who::Inter,
        "offer",
        "add",
        &[
            "five_seconds",
            "--dataset",
            "building_water",
            "--policy",
            &file,
            "--legal-basis",
            LEGAL_BASIS,
            "--legal-text",
            "Essai (exemple)",
            "--automatic",
            "--to",
            "malmedy",
        ],
    )?;
    let asked = world.of(Who::Commune, "negotiation", "request", &["intercommunale", "five_seconds"])?;
    let agreement = finalized(&wait(world, Who::Commune, &field(&asked, "negotiation")?)?)?;
    let chloe = user(world, Who::Commune, "chloe", ROWS_PURPOSE, &[&agreement])?;
    let sql = "SELECT count(*) AS n FROM building_water";
    let within = query(world, Who::Commune, &chloe, &agreement, ROWS_PURPOSE, sql)?;
    let left_ms = left(&end);
    teller.say(
        "demo.wait-clock",
        &[("seconds", &format!("{:.1}", f64::from(u32::try_from(left_ms).unwrap_or(0)) / 1000.0))],
    );
    std::thread::sleep(Duration::from_millis(left_ms.saturating_add(50)));
    teller.step("refused-expired", || {
        let answer = query(world, Who::Commune, &chloe, &agreement, ROWS_PURPOSE, sql);
        let detail = world.refused(answer, ErrorCode::AgreementExpired)?;
        Ok(((), format!("{} ▸ {detail}", number(&within, "n"))))
    })
}

fn left(end: &Timestamp) -> u64 {
    u64::try_from(end.millis().saturating_sub(crate::ledger::SystemClock.now().millis())).unwrap_or(0)
}

fn check(world: &mut World, teller: &mut Teller<'_>) -> Result<()> {
    world.of(Who::Commune, "audit", "exchange", &["intercommunale"])?;
    world.of(Who::Inter, "audit", "exchange", &["malmedy"])?;
    teller.step("stopped", || {
        world.all_run()?;
        world.stop()?;
        Ok(((), "autorite, malmedy, intercommunale".to_owned()))
    })?;
    let names = |detail: String, finding: &str| {
        if detail.contains(finding) {
            Ok(((), detail))
        } else {
            Err(wrong(format!("`{finding}` isn't among the findings: {detail}")))
        }
    };
    let verify = |world: &World, directory: &str, against: Option<&str>| {
        let mut args = vec!["audit", "verify", directory];
        if let Some(other) = against {
            args.extend(["--against", other]);
        }
        world.run(&args)
    };
    let (commune, inter) = (world.path("commune"), world.path("inter"));
    for (step, own, other) in [("verify-provider", &commune, &inter), ("verify-consumer", &inter, &commune)] {
        teller.step(step, || {
            let report = verify(world, own, Some(other))?;
            Ok(((), format!("{} ▸ {}", number(&report, "size"), field(&report, "outcome")?)))
        })?;
    }
    teller.step("edit-found", || {
        let edited = world.directory.join("edited");
        copy(&world.dir(Who::Commune), &edited)?;
        forger::edit(&edited)?;
        let detail = world.refused(verify(world, &world.path("edited"), None), ErrorCode::LogDamaged)?;
        names(detail, "segment-bytes")
    })?;
    teller.step("forger", || {
        let forged = world.directory.join("forged");
        copy(&world.dir(Who::Commune), &forged)?;
        forger::rewrite(&forged)?;
        // Alone, the forged directory holds together: its owner's key signed it.
        verify(world, &world.path("forged"), None)?;
        let detail = world.refused(verify(world, &world.path("forged"), Some(&inter)), ErrorCode::LogDamaged)?;
        names(detail, "rewrite")
    })?;
    teller.say("demo.forger-explained", &[]);
    Ok(())
}
