//! `MAP-ABI.md` and the committed layout of every map.

use std::fmt::Write as _;

use tartan_common::abi::{
    FLOW_KEY_FIELDS, FLOW_KEY6_FIELDS, FieldDoc, IPV6_CONFIG_FIELDS, LAYOUT_VERSION, MAPS, MapDoc,
};

use crate::GENERATED;

const INTRODUCTION: &str = "\
The maps below are pinned in `/sys/fs/bpf/tartan/maps/`. They are the only thing that the programs
in the kernel and the programs in userspace share. An agent adopts pinned maps of its own layout
version and refuses any other, so that no map is ever read with the wrong struct. Addresses are
in network order, all other numbers in the machine's.";

/// `docs/MAP-ABI.md`.
pub(crate) fn document() -> String {
    let mut out =
        format!("{GENERATED}\n# Maps\n\n{INTRODUCTION}\n\nLayout version: {LAYOUT_VERSION}\n");
    for map in MAPS {
        out += &chapter(map);
    }
    for (title, fields) in [
        ("The key `FlowKey`", FLOW_KEY_FIELDS),
        ("The key `FlowKey6`", FLOW_KEY6_FIELDS),
        ("The field `ipv6` of the configuration", IPV6_CONFIG_FIELDS),
    ] {
        let _ = write!(out, "\n## {title}\n\n{}", table(fields));
    }
    out
}

fn chapter(map: &MapDoc) -> String {
    let MapDoc { name, kind, key, value, value_fields, capacity, writer, when_full } = map;
    format!(
        "\n## `{name}`\n\n- kind: {kind}, at most {capacity} entries\n- key: {key}\n- value: \
         `{value}`, {size} bytes\n- written by: {writer}\n- when full: {when_full}\n\n{fields}",
        size = size(value_fields),
        fields = table(value_fields),
    )
}

fn table(fields: &[FieldDoc]) -> String {
    let mut out = "| Offset | Size | Field | Meaning |\n|---|---|---|---|\n".to_owned();
    for FieldDoc { name, offset, size, meaning } in fields {
        // Links of rustdoc lead nowhere here. Writing to a `String` cannot fail.
        let meaning = meaning.trim().replace("[`", "`").replace("`]", "`");
        let _ = writeln!(out, "| {offset} | {size} | `{name}` | {meaning} |");
    }
    out
}

/// `docs/surface/map-layouts.txt`: what changes the layout, and nothing that only explains it.
pub(crate) fn surface() -> String {
    let mut out = format!("layout-version {LAYOUT_VERSION}\n");
    for map in MAPS {
        let MapDoc { name, kind, key, value, value_fields, capacity, .. } = map;
        let _ = writeln!(out, "map {name} kind={kind} capacity={capacity} value={value} key={key}");
        out += &lines(value, value_fields);
    }
    out += &lines("FlowKey", FLOW_KEY_FIELDS);
    out += &lines("FlowKey6", FLOW_KEY6_FIELDS);
    out + &lines("Ipv6Config", IPV6_CONFIG_FIELDS)
}

fn lines(owner: &str, fields: &[FieldDoc]) -> String {
    let mut out = String::new();
    for FieldDoc { name, offset, size, .. } in fields {
        let _ = writeln!(out, "field {owner}.{name} offset={offset} size={size}");
    }
    out
}

fn size(fields: &[FieldDoc]) -> usize {
    fields.last().map_or(0, |last| last.offset + last.size)
}
