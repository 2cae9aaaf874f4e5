//! A storage on servers.

use super::*;

pub(super) fn arrivals() -> Vec<Arrival> {
    let beside = |more: Json| {
        let mut storage = json!({ "type": "valkey", "valkey": { "url": "valkey.example:6379" } });
        merge(&mut storage, more);
        vec![("/storage", storage)]
    };
    vec![
        ("storage.staleFor", beside(json!({ "staleFor": "7s" })), |c| format!("{:?}", c.storage.stale_for), "7s"),
        (
            "storage.streamStaleFor",
            beside(json!({ "streamStaleFor": "0s" })),
            |c| format!("{:?}", c.storage.stream_stale_for),
            "0ns",
        ),
        (
            "storage.valkey.url",
            on_servers(json!({ "url": "[::1]:7000" })),
            |c| {
                valkey(c, |v| match &v.servers {
                    Servers::Standalone(one) => format!("{}|{}", one.host, one.port),
                    other => format!("{other:?}"),
                })
            },
            "::1|7000",
        ),
        (
            "storage.valkey.cluster",
            vec![("/storage", json!({ "type": "valkey", "valkey": { "cluster": ["a.example:1", "[::1]:2"] } }))],
            |c| {
                valkey(c, |v| match &v.servers {
                    Servers::Cluster(nodes) => nodes.iter().map(|one| format!("{}|{} ", one.host, one.port)).collect(),
                    other => format!("{other:?}"),
                })
            },
            "a.example|1 ::1|2 ",
        ),
        (
            "storage.valkey.username",
            on_servers(json!({ "username": "gate", "password": "hush" })),
            |c| valkey(c, |v| format!("{:?}", v.username.as_ref().map(ServerUser::as_str))),
            r#"Some("gate")"#,
        ),
        (
            "storage.valkey.password",
            on_servers(json!({ "password": "hush" })),
            |c| valkey(c, |v| password(&v.password)),
            "hush",
        ),
        (
            "storage.valkey.passwordFile",
            on_servers(json!({ "passwordFile": "/run/secret" })),
            |c| valkey(c, |v| password(&v.password)),
            "a secret out of a file",
        ),
        (
            "storage.valkey.tlsEnabled",
            on_servers(json!({ "tlsEnabled": true })),
            |c| valkey(c, |v| v.tls_enabled.to_string()),
            "true",
        ),
        (
            "storage.valkey.tlsServerName",
            on_servers(json!({ "tlsEnabled": true, "tlsServerName": "name.example" })),
            |c| valkey(c, |v| v.tls_server_name.as_ref().map_or("", ServerName::as_str).to_owned()),
            "name.example",
        ),
        (
            "storage.valkey.tlsCaFile",
            on_servers(json!({ "tlsEnabled": true, "tlsCaFile": "/run/ca.pem" })),
            |c| valkey(c, |v| file(v.tls_ca_file.as_ref().map(|file| &file.path))),
            "/run/ca.pem",
        ),
        (
            "storage.valkey.tlsCertFile",
            on_servers(json!({ "tlsEnabled": true, "tlsCertFile": "/run/ca.pem", "tlsKeyFile": "/run/key.pem" })),
            |c| valkey(c, |v| file(v.tls_cert_file.as_ref().map(|file| &file.0.path))),
            "/run/ca.pem",
        ),
        (
            "storage.valkey.tlsKeyFile",
            on_servers(json!({ "tlsEnabled": true, "tlsCertFile": "/run/ca.pem", "tlsKeyFile": "/run/key.pem" })),
            |c| valkey(c, |v| file(v.tls_key_file.as_ref().map(|file| &file.path))),
            "/run/key.pem",
        ),
        ("storage.valkey.db", on_servers(json!({ "db": 7 })), |c| valkey(c, |v| v.db.to_string()), "7"),
        (
            "storage.valkey.keyPrefix",
            on_servers(json!({ "keyPrefix": "muster:" })),
            |c| valkey(c, |v| v.key_prefix.as_str().to_owned()),
            "muster:",
        ),
        (
            "storage.valkey.waitReplicas",
            on_servers(json!({ "waitReplicas": 2 })),
            |c| valkey(c, |v| v.wait_replicas.to_string()),
            "2",
        ),
        (
            "storage.valkey.sentinel.masterName",
            under_sentinels(json!({ "masterName": "other" })),
            |c| valkey(c, |v| sentinel(v, |s| s.master_name.as_str().to_owned())),
            "other",
        ),
        (
            "storage.valkey.sentinel.addresses",
            under_sentinels(json!({ "addresses": ["a.example:1", "192.0.2.1:2"] })),
            |c| {
                valkey(c, |v| {
                    sentinel(v, |s| s.addresses.iter().map(|one| format!("{}|{} ", one.host, one.port)).collect())
                })
            },
            "a.example|1 192.0.2.1|2 ",
        ),
        (
            "storage.valkey.sentinel.username",
            under_sentinels(json!({ "username": "gate", "password": "hush" })),
            |c| valkey(c, |v| sentinel(v, |s| format!("{:?}", s.username.as_ref().map(ServerUser::as_str)))),
            r#"Some("gate")"#,
        ),
        (
            "storage.valkey.sentinel.password",
            under_sentinels(json!({ "password": "hush" })),
            |c| valkey(c, |v| sentinel(v, |s| password(&s.password))),
            "hush",
        ),
        (
            "storage.valkey.sentinel.passwordFile",
            under_sentinels(json!({ "passwordFile": "/run/secret" })),
            |c| valkey(c, |v| sentinel(v, |s| password(&s.password))),
            "a secret out of a file",
        ),
    ]
}
