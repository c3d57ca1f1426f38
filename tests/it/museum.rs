//! The museum of attacks over the wire: a consumer's tool speaks Flight SQL to its own connector,
//! which asks the provider's. What comes back under the view is what comes back under an agreement
//! over a set in which the hidden rows and columns never were.

#[path = "../museum/exhibits.rs"]
#[allow(dead_code, reason = "the engine's tests use the rest")]
mod exhibits;

use crate::world::{PROVIDER, PURPOSE, World, wire};
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use exhibits::{Exhibit, Expect, GIVEN, exhibits, folder, lines, permitted};
use futures::TryStreamExt;
use perron::api::flight::local::{AGREEMENT_HEADER, PURPOSE_HEADER};
use perron::query::arrow::array::RecordBatch;
use perron::query::arrow::error::ArrowError;
use perron::query::arrow::json::LineDelimitedWriter;
use serde_json::json;
use std::time::Instant;
use tonic::Status;
use tonic::transport::Channel;

/// The view of the exhibits; the keyed hash is another under each agreement, so here the
/// household is masked with nothing, as the note is.
fn policy(filter: bool) -> String {
    let profile = "https://w3id.org/perron/odrl/v1/";
    let constraint = |operand: &str, operator: &str, value: serde_json::Value| json!({"leftOperand": operand, "operator": operator, "rightOperand": value});
    let count = json!({"@type": "xsd:integer", "@value": "1000"});
    let mut constraints = vec![
        constraint("purpose", "eq", PURPOSE.into()),
        constraint("perron:legalBasis", "eq", "https://w3id.org/dpv#PublicInterest".into()),
        constraint("count", "lteq", count),
        constraint("perron:columns", "isAnyOf", json!(GIVEN)),
        constraint("perron:null", "isAllOf", json!(["household", "note"])),
    ];
    if filter {
        constraints.push(constraint("perron:column/district", "isAnyOf", json!(["centre", "gare"])));
        let consent = json!({"@type": "xsd:boolean", "@value": "true"});
        constraints.push(constraint("perron:column/consent", "eq", consent));
    }
    json!({
        "@context": ["https://w3id.org/dspace/2025/1/context.jsonld", {"perron": profile, "xsd": "http://www.w3.org/2001/XMLSchema#"}],
        "@type": "Offer",
        "profile": profile,
        "permission": [{"action": "read", "constraint": constraints}]
    })
    .to_string()
}

/// Publishes the set, and the copy under another name; gives the agreements over both.
fn agreements(world: &World) -> [String; 2] {
    let joined = |lines: Vec<Vec<String>>| lines.iter().map(|l| l.join(",") + "\n").collect::<String>();
    let description = std::fs::read_to_string(folder().join("description.toml")).unwrap();
    let header = lines().swap_remove(0);
    let pick = |line: &Vec<String>| GIVEN.map(|n| line[header.iter().position(|h| h == n).unwrap()].clone()).to_vec();
    let mut cut = vec![pick(&header)];
    cut.extend(permitted().iter().map(pick));
    // The description without the columns that the view withholds.
    let mut blocks: Vec<&str> = description.split("[[dataset.columns]]").collect();
    let withheld = ["name = \"name\"", "name = \"consent\""];
    blocks.retain(|block| !withheld.iter().any(|w| block.contains(w)));
    let copied = blocks.join("[[dataset.columns]]").replace("id = \"readings\"", "id = \"readings-copy\"");
    let add = |id: &str, description: &str, csv: &str| {
        let described = world.write(&format!("{id}.toml"), description);
        let file = world.write(&format!("{id}.csv"), csv);
        world.of(PROVIDER, &["dataset", "add"], &["--description", &described, &file]).unwrap();
    };
    add("readings", &description, &joined(lines()));
    add("readings-copy", &copied, &joined(cut));
    let view = world.agree_on("readings", "vue", &policy(true));
    let copy = world.agree_on("readings-copy", "copie", &policy(false));
    world.allow(&[&view, &copy]);
    [view, copy]
}

#[test]
fn the_museum_over_the_wire() {
    let world = World::new();
    let [view, copy] = agreements(&world);
    let runtime = wire::runtime();
    let begun = Instant::now();
    let (mut asked, mut wrong) = (0, Vec::new());
    runtime.block_on(async {
        let local = wire::local_channel(&world, crate::world::CONSUMER);
        for exhibit in exhibits().iter().filter(|e| e.wire) {
            for sql in exhibit.statements() {
                let names = if exhibit.names.is_empty() { vec![String::new()] } else { exhibit.names.clone() };
                for name in names {
                    let sql = sql.replace("{{name}}", &name);
                    let over = (ask(&local, &view, &sql, exhibit).await, ask(&local, &copy, &sql, exhibit).await);
                    asked += 1;
                    let fits = over.0 == over.1 && expected(exhibit, &over.0);
                    if !fits {
                        wrong.push(format!("{}: {sql:.200}: {over:?}", exhibit.name));
                    }
                }
            }
        }
    });
    eprintln!("{asked} statements over the wire, twice each: {:?}", begun.elapsed());
    assert!(asked >= 200, "{asked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn expected(exhibit: &Exhibit, answer: &Result<Vec<String>, (String, String)>) -> bool {
    match (exhibit.expect, answer) {
        (Expect::Same, Ok(_)) => exhibit.code.is_none(),
        (Expect::Same, Err((code, _))) => exhibit.any || exhibit.code.as_ref() == Some(code),
        (Expect::Refused, Err((code, _))) => exhibit.any_code || exhibit.code.as_ref() == Some(code),
        (Expect::Alike, Err(_)) => true,
        (Expect::Refused | Expect::Alike, Ok(_)) => false,
    }
}

/// The rows as JSON, sorted where their order doesn't count; or code and text of the error.
async fn ask(
    channel: &Channel,
    agreement: &str,
    sql: &str,
    exhibit: &Exhibit,
) -> Result<Vec<String>, (String, String)> {
    let refused = |error: FlightError| {
        let status = status_of(error);
        (wire::code_of(&status), status.message().replace(&agreement[..12], "AGREEMENT"))
    };
    let mut flight = FlightSqlServiceClient::new(channel.clone());
    flight.set_header(AGREEMENT_HEADER, agreement);
    flight.set_header(PURPOSE_HEADER, PURPOSE);
    let info = flight.execute(sql.to_owned(), None).await.map_err(refused)?;
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let batches: Vec<RecordBatch> =
        flight.do_get(ticket).await.map_err(refused)?.try_collect().await.map_err(refused)?;
    let mut writer = LineDelimitedWriter::new(Vec::new());
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    let mut rows: Vec<String> = String::from_utf8(writer.into_inner()).unwrap().lines().map(str::to_owned).collect();
    if !exhibit.ordered {
        rows.sort();
    }
    Ok(rows)
}

fn status_of(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        FlightError::Arrow(ArrowError::ExternalError(inner)) => {
            let inner = match inner.downcast::<Status>() {
                Ok(status) => return *status,
                Err(inner) => inner,
            };
            status_of(*inner.downcast::<FlightError>().unwrap())
        }
        other => panic!("{other}"),
    }
}
