//! How the page looks, in the light and in the dark.

/// For the page's `<style>`.
pub(super) const STYLE: &str = "
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1d2329; --soft: #5b6570; --line: #d9dee3; --card: #f6f8f9;
  --host: #98a2ad; --kernel: #6f94b5; --flannel: #d1913a; --tartan: #0f7d72; --second: #58aaa0;
  --good: #176c3a; --bad: #b3261e; --goodback: #e2f3e8; --badback: #fbe6e4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181c; --ink: #e6eaee; --soft: #9aa5b0; --line: #323a42; --card: #1b2126;
    --host: #7d8792; --kernel: #6e9cc4; --flannel: #dba04f; --tartan: #2fb3a4; --second: #1f7f75;
    --good: #7fd6a2; --bad: #ff9a90; --goodback: #163524; --badback: #42201d;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 21px; margin: 44px 0 6px; }
h3 { font-size: 15px; margin: 0 0 2px; }
p { margin: 6px 0; max-width: 78ch; }
.soft { color: var(--soft); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr));
  gap: 16px; margin-top: 14px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px 10px; min-width: 0; }
.card p { font-size: 13px; margin: 0 0 8px; }
svg { display: block; width: 100%; height: auto; max-width: 640px; }
svg text { font-size: 13px; fill: var(--ink); }
svg text.label { text-anchor: end; }
svg text.ratio { font-weight: 600; font-variant-numeric: tabular-nums; }
svg text.figure { text-anchor: end; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg text.tick { text-anchor: middle; font-size: 11px; fill: var(--soft); }
svg line.grid { stroke: var(--line); stroke-width: 1; }
svg line.mark { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 3 3; }
svg path.spread { stroke: var(--ink); stroke-width: 1.3; fill: none; }
.host { fill: var(--host); } .kernel { fill: var(--kernel); } .flannel { fill: var(--flannel); }
.tartan { fill: var(--tartan); } .second { fill: var(--second); }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 22px 0 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 18px; flex: 1 1 190px; }
.tile b { display: block; font-size: 26px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; margin-top: 12px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.name { white-space: nowrap; }
.pill { display: inline-block; padding: 0 9px; border-radius: 99px; font-size: 13px;
  white-space: nowrap; }
.yes { color: var(--good); background: var(--goodback); }
.no { color: var(--bad); background: var(--badback); }
.none { color: var(--soft); }
.alarm { border: 1px solid var(--bad); background: var(--badback); color: var(--bad);
  border-radius: 10px; padding: 10px 16px; margin-top: 20px; }
code { font: 13px ui-monospace, 'DejaVu Sans Mono', monospace; overflow-wrap: anywhere; }
";
