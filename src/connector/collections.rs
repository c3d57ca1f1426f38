//! Collections of parties and of sets that this organisation declares, for policies about them.
//!
//! A change is an entry of the log. Who or what belongs to a collection that isn't declared isn't
//! known: a permission for it gives nothing, and a prohibition about it holds for all.

use crate::connector::node::Node;
use perron_model::collection::{Collection, CollectionName, Members};
use perron_model::limits::COLLECTIONS_MAX;
use perron_model::{Error, ErrorCode, Result, canonical};
use serde_json::{Value as Json, json};

impl Node {
    /// Declares who or what belongs to a collection, in place of what was declared before. Reads
    /// whose agreement no longer permits them end.
    pub async fn set_collection(&self, name: CollectionName, members: Members, who: &str) -> Result<()> {
        {
            let _guard = self.noticing.lock().await;
            self.require_known(&members)?;
            let declared = self.state.collections();
            if declared.len() >= COLLECTIONS_MAX && !declared.iter().any(|c| c.name == name) {
                let detail = format!("at most {COLLECTIONS_MAX} collections are declared");
                return Err(Error::new(ErrorCode::Overloaded, detail));
            }
            let collection = Collection { name, members, since: self.now() }.check()?;
            self.administer("collection.set", who, canonical::to_bytes(&collection)?).await?;
        }
        self.recheck_running().await;
        Ok(())
    }

    /// Collections declared here.
    pub fn collection_list(&self) -> Json {
        let shown = self.state.collections().into_iter().map(|c| {
            let (kind, members) = match c.members {
                Members::Parties(parties) => ("parties", json!(parties)),
                Members::Sets(sets) => ("sets", json!(sets)),
            };
            json!({"collection": c.name, kind: members, "since": c.since})
        });
        Json::Array(shown.collect())
    }

    /// A name that was mistyped would belong to nobody's knowledge: it is refused.
    fn require_known(&self, members: &Members) -> Result<()> {
        match members {
            Members::Parties(parties) => {
                let register = self.register.load();
                match parties.iter().find(|p| register.participant(p).is_none()) {
                    None => Ok(()),
                    Some(unknown) => {
                        Err(Error::new(ErrorCode::ParticipantUnknown, format!("`{unknown}` is not in the register")))
                    }
                }
            }
            Members::Sets(sets) => match sets.iter().find(|set| self.sets.current(set).is_none()) {
                None => Ok(()),
                Some(unknown) => Err(Error::new(ErrorCode::NotFound, format!("no set `{unknown}` is published here"))),
            },
        }
    }
}
