//! A process whose files or ports can't be used says so by its code before anything is served.

use super::{COUNT, END, all_is_well, is_refused};
use crate::world::{CONSUMER, PROVIDER, Refused, World};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

/// Exit code of a usage error (sysexits, EX_USAGE).
const USAGE: i32 = 64;

fn does_not_start(world: &mut World, code: &str) -> Refused {
    let refused = world.start_with(PROVIDER, &[]).unwrap_err();
    is_refused(world, refused, code)
}

#[test]
fn nothing_is_served_from_files_that_cannot_be_used() {
    let mut world = World::new();
    let agreement = world.agree(END);
    world.query(&agreement, COUNT).unwrap();
    world.stop(PROVIDER);
    let dir = world.dir(PROVIDER);
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let config = text("perron.toml");
    let key = text("keys/tls.pem");
    let other = std::fs::read_to_string(world.dir(CONSUMER).join("trust/certificate.pem")).unwrap();
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    let register = text("trust/register.json");
    let cases = [
        ("perron.toml", cut(&config), "config_invalid"),
        ("perron.toml", format!("colour = \"red\"\n{config}"), "config_invalid"),
        ("perron.toml", config.replace("flight = \"127.", "flight = \"128."), "config_invalid"),
        ("perron.toml", config.replace("participant = \"commune\"", "participant = \"Inter!\""), "config_invalid"),
        ("perron.toml", config.replace("participant = \"commune\"", "participant = \"inter\""), "certificate_invalid"),
        ("keys/tls.pem", cut(&key), "key_invalid"),
        ("keys/tls.pem", text("keys/log.pem"), "key_invalid"),
        ("keys/agreement.pem", key.clone(), "key_invalid"),
        ("trust/certificate.pem", cut(&text("trust/certificate.pem")), "certificate_invalid"),
        ("trust/certificate.pem", String::new(), "certificate_invalid"),
        ("trust/certificate.pem", other, "certificate_invalid"),
        ("trust/ca.pem", text("trust/certificate.pem"), "certificate_invalid"),
        ("trust/register.json", cut(&register), "register_invalid"),
        ("trust/register.json", register.replacen("eyJ", "eyK", 1), "register_invalid"),
        ("trust/authority.key", "A".repeat(43), "register_invalid"),
    ];
    for (file, bad, code) in cases {
        let good = text(file);
        assert_ne!(good, bad, "{file}");
        std::fs::write(dir.join(file), bad).unwrap();
        let refused = does_not_start(&mut world, code);
        std::fs::write(dir.join(file), good).unwrap();
        let usage = ["config_invalid", "key_invalid"].contains(&code);
        assert_eq!(refused.exit, Some(if usage { USAGE } else { 1 }), "{file}: {refused:?}");
        // No line of a key, whatever is wrong with it.
        assert!(key.lines().skip(1).all(|line| line.starts_with('-') || !refused.stderr.contains(line)), "{refused:?}");
    }

    let chmod = |mode: u32| {
        std::fs::set_permissions(dir.join("keys/request.pem"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod(0o640);
    let refused = does_not_start(&mut world, "key_unsafe");
    assert!(refused.detail.contains("request.pem") && refused.exit == Some(USAGE), "{refused:?}");
    chmod(0o600);

    for (name, at) in [("peers", "[listen]\npeers = \""), ("flight", "flight = \"")] {
        let address = config.split(at).nth(1).unwrap().split('"').next().unwrap();
        let _taken = TcpListener::bind(address).unwrap();
        let refused = does_not_start(&mut world, "port_taken");
        assert!(refused.detail.contains(address), "{name}: {refused:?}");
    }

    world.start(PROVIDER);
    does_not_start(&mut world, "directory_locked");
    all_is_well(&mut world, &agreement);
}
