//! The mesh's answers in lines for people.

use serde_json::Value;

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The first letters of a name in hex or SS58.
fn short(value: &Value) -> String {
    text(value).chars().take(12).collect()
}

fn ms(value: &Value) -> String {
    value.as_u64().map_or_else(|| "?".to_owned(), |us| format!("{}.{:03} ms", us / 1_000, us % 1_000))
}

/// Share of 65,536 as a percentage with two places.
fn percent(value: &Value) -> String {
    let hundredths = value.as_u64().unwrap_or(0) * 10_000 / 65_536;
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

/// The mesh's part of the status.
pub fn mesh(report: &Value) -> Vec<String> {
    let mut lines = vec![format!("  mesh      {} {}", text(&report["state"]), report["name"].as_str().unwrap_or(""))];
    if report["address"].is_string() {
        let algorithms = &report["algorithms"];
        lines.push(format!("    address   {} ({})", text(&report["address"]), text(&report["opened"]["tunnel"][0])));
        lines.push(format!(
            "    suite {}   {}, {}, {}, {}, {}",
            text(&algorithms["suite"]),
            text(&algorithms["keyExchange"]),
            text(&algorithms["authentication"]),
            text(&algorithms["sealing"]),
            text(&algorithms["keySchedule"]),
            text(&algorithms["hop"])
        ));
        lines.push(format!("    filter    {}", text(&report["filter"]["state"])));
        lines.extend(list(&report["links"]).map(|entry| link("    link      ", entry)));
        lines.extend(list(&report["sessions"]).map(|session| {
            let state = if session["open"] == true { "open" } else { "opening" };
            format!("    session   {} {} {state}", short(&session["peer"]), text(&session["address"]))
        }));
        let refused = report["counters"].as_object().into_iter().flatten();
        for (name, count) in refused.filter(|(name, count)| name.starts_with("refused") && count.as_u64() > Some(0)) {
            lines.push(format!("    {name} {count}"));
        }
    }
    lines.extend(list(&report["warnings"]).map(|warning| format!("    warning   {}", text(warning))));
    lines
}

fn link(start: &str, link: &Value) -> String {
    let measured = &link["measured"];
    format!(
        "{start}{} over {} at {}: {}, rtt {}, loss {} in {} out, datagrams of {} bytes",
        short(&link["peer"]),
        text(&link["underlay"]),
        text(&link["address"]),
        text(&link["state"]),
        ms(&measured["srttUs"]),
        percent(&measured["lossInQ16"]),
        percent(&measured["lossOutQ16"]),
        text(&link["payloadBytes"]),
    )
}

/// `x0-agent peers`.
pub fn peers(answer: &Value) -> String {
    let mut lines = Vec::new();
    for peer in list(answer) {
        let rights = ["link", "session", "relay"].into_iter().filter(|right| peer["rights"][right] == true);
        lines.push(format!(
            "{} {}{}",
            text(&peer["account"]),
            text(&peer["address"]),
            if peer["configured"] == true { " (configured)" } else { "" }
        ));
        lines.push(format!("  may       {}", rights.collect::<Vec<_>>().join(", ")));
        lines.extend(list(&peer["links"]).map(|entry| link("  link      ", entry)));
        if peer["session"].is_object() {
            lines.push(format!("  session   {}", if peer["session"]["open"] == true { "open" } else { "opening" }));
        }
    }
    if lines.is_empty() { "nobody".to_owned() } else { lines.join("\n") }
}

/// `x0-agent paths`.
pub fn paths(answer: &Value, explain: bool) -> String {
    let mut lines = Vec::new();
    for session in list(answer) {
        lines.push(format!("to {} ({} switches)", text(&session["peer"]), text(&session["switchesTotal"])));
        for path in list(&session["paths"]) {
            let primary = path["id"] == session["primary"];
            let hops: Vec<String> = list(&path["hops"]).map(|hop| short(&hop["to"])).collect();
            lines.push(format!(
                "  {} {} over {} via {}: {}, tau {}, q {}, loss {}, rtt {}, trust {}",
                if primary { "*" } else { " " },
                path["rank"].as_u64().map_or_else(|| "-".to_owned(), |rank| rank.to_string()),
                text(&path["underlay"]),
                hops.join(" > "),
                text(&path["state"]),
                text(&path["tau"]),
                text(&path["quality"]),
                percent(&path["lossQ16"]),
                ms(&path["srttUs"]),
                percent(&path["trustQ16"]),
            ));
            if explain {
                lines.push(format!(
                    "      preference {}, better for {} ticks, evidence {}",
                    text(&path["preference"]),
                    text(&path["betterTicks"]),
                    path["evidence"]
                ));
            }
        }
        let at_ns = session["atNs"].as_u64().unwrap_or(0);
        let switches: Vec<&Value> = list(&session["switches"]).collect();
        let shown = if explain { switches.len() } else { 1 };
        for switch in switches.iter().rev().take(shown) {
            let ago_ms = at_ns.saturating_sub(switch["atNs"].as_u64().unwrap_or(0)) / 1_000_000;
            lines.push(format!(
                "  switched {ago_ms} ms ago, because: {} (before: {}, tau {}; after: {}, tau {})",
                text(&switch["reason"]),
                text(&switch["fromState"]),
                text(&switch["fromTau"]),
                text(&switch["toState"]),
                text(&switch["toTau"]),
            ));
        }
    }
    if lines.is_empty() { "no sessions".to_owned() } else { lines.join("\n") }
}

/// One line of `x0-agent capture`.
pub fn captured(line: &Value) -> String {
    if line["packetBytes"].is_number() {
        return format!(
            "{:>10} us {:<3} {} bytes {} {}",
            text(&line["atUs"]),
            text(&line["direction"]),
            text(&line["packetBytes"]),
            short(&line["peer"]),
            text(&line["header"])
        );
    }
    let header = &line["header"];
    format!(
        "{:>10} us {} > {} {} bytes {}",
        text(&line["atUs"]),
        text(&line["from"]),
        text(&line["to"]),
        text(&line["payloadBytes"]),
        if header["kind"].is_string() {
            format!("{} tag {} seq {} ttl {}", text(&header["kind"]), header["tag"], header["sequence"], header["ttl"])
        } else {
            text(&header["malformed"])
        }
    )
}

/// `x0-agent reload`.
pub fn reloaded(answer: &Value) -> String {
    let restart: Vec<String> = list(&answer["restartNeededFor"]).map(text).collect();
    if restart.is_empty() {
        "peers, rules and the filter's lists are in force".to_owned()
    } else {
        format!("peers, rules and the filter's lists are in force; a restart is needed for {}", restart.join(", "))
    }
}
