"""How the page of a report looks: light and dark, on a screen, on a phone and on paper."""

STYLE = """
:root{color-scheme:light dark;--page:#f5f6f8;--card:#fff;--line:#dde1e7;--soft:#eef0f4;--text:#18202b;--dim:#566070;
--accent:#2456b8;--done:#1b7a45;--failed:#c0312b;--stuck:#a85a00;--blocked:#7a4a66;--cancelled:#606977;
--skipped:#606977;--running:#2456b8;--waiting:#606977;--reviewing:#a3258c;--delegated:#0b6f80;--fix:#b36b00;--limit:#6f4bbd;--cut:#7b8594;--on:#fff;
--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media screen and (prefers-color-scheme:dark){:root{
--page:#10141a;--card:#181e27;--line:#2c3542;--soft:#212936;--text:#e4e9f0;
--dim:#9aa6b6;--accent:#7fb0ff;--done:#4cc38a;--failed:#ff8078;--stuck:#f2b052;--blocked:#d59abd;--cancelled:#98a3b3;
--skipped:#98a3b3;--running:#7fb0ff;--waiting:#8d98a8;--reviewing:#f08bdc;--delegated:#4fc3d6;--fix:#f2b052;--limit:#b79cff;--cut:#8a95a5;--on:#10141a}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:1180px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
h1{font-size:26px;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:18px;margin:0 0 12px}
h3{font-size:15px;margin:18px 0 6px}
p{margin:0 0 8px}
a{color:var(--accent)}
code,pre,.id{font-family:var(--mono);font-size:.9em}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin:16px 0}
.dim{color:var(--dim)}.small{font-size:13px}
.over{color:var(--dim);font-size:13px;margin:0 0 2px}
.verdict{font-size:17px;margin:8px 0 4px}
.pill{display:inline-block;border:1px solid currentColor;border-radius:99px;padding:0 9px;font-size:12.5px;
font-weight:600;line-height:1.6;white-space:nowrap;vertical-align:2px}
.done{color:var(--done)}.failed{color:var(--failed)}.stuck{color:var(--stuck)}.blocked{color:var(--blocked)}
.cancelled{color:var(--cancelled)}.skipped{color:var(--skipped)}.running{color:var(--running)}
.waiting{color:var(--waiting)}.reviewing{color:var(--reviewing)}.delegated{color:var(--delegated)}
.share{display:block;width:100%;height:12px;border-radius:6px;margin:14px 0 8px}
.part{fill:currentColor}
.key{display:flex;flex-wrap:wrap;gap:2px 16px;margin:0 0 4px;padding:0;list-style:none;font-size:13px}
.key i{display:inline-block;width:11px;height:11px;border-radius:3px;background:currentColor;margin-right:6px;
vertical-align:-1px}
.key span{color:var(--text)}
.figures{display:grid;grid-template-columns:repeat(4,1fr);gap:10px;margin:16px 0 0}
.figures div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 14px}
.figures dt{color:var(--dim);font-size:13px}
.figures dd{margin:0;font-size:21px;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
.figures dd.small{font-size:13px;font-weight:400;color:var(--dim)}
.case{border-left:4px solid currentColor;padding:2px 0 2px 14px;margin:0 0 18px}
.case>*{color:var(--text)}
.case h3{margin:0 0 4px;overflow-wrap:anywhere}
.case .failed{color:var(--failed)}.case .stuck{color:var(--stuck)}
.case .reviewing{color:var(--reviewing)}.case .delegated{color:var(--delegated)}
blockquote{margin:6px 0;padding:6px 12px;border-left:3px solid var(--line);background:var(--soft);
overflow-wrap:anywhere}
ul.plain{margin:0 0 8px;padding-left:18px}
li{overflow-wrap:anywhere}
pre{background:var(--soft);border-radius:6px;padding:8px 12px;margin:6px 0;white-space:pre-wrap;overflow-wrap:anywhere}
pre.type code{display:block;user-select:all;-webkit-user-select:all}
pre.type code::before{content:"$ ";color:var(--dim);user-select:none;-webkit-user-select:none}
details{margin:6px 0}
summary{cursor:pointer;color:var(--accent);font-size:14px}
.wide{overflow-x:auto;margin:0 -4px;padding:0 4px 4px}
.wide:focus-visible,a:focus-visible,summary:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:14px}
caption{text-align:left;color:var(--dim);font-size:13px;padding:0 0 6px}
th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
thead th{color:var(--dim);font-size:13px;font-weight:600;white-space:nowrap;border-bottom-width:2px}
tbody th{font-weight:400;overflow-wrap:anywhere}
tbody tr:last-child>*{border-bottom:0}
table.slim{width:auto}.slim td,.slim th{padding-right:28px}
.tasks td:last-child,.tasks thead th:last-child{padding-left:14px}
.tasks td.delegated,.tasks td:last-child{white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.id{font-weight:600}
tbody th.in1{padding-left:20px}tbody th.in2{padding-left:40px}tbody th.in3{padding-left:60px}
tbody th.in4{padding-left:80px}tbody th.in5{padding-left:100px}
tr:target>*{background:var(--soft)}
svg{display:block;max-width:none}
svg text{fill:var(--text);font-size:12px}
svg a{text-decoration:none}
svg .who{text-anchor:end;font-weight:600}
svg .note,svg .tick{fill:var(--dim);font-size:11.5px}
svg .tick{text-anchor:middle}
.timeline,.stages{width:100%;min-width:860px;height:auto}
.grid{stroke:var(--line)}
.band{fill:var(--soft)}
.rest{fill:var(--limit);opacity:.22}
.halted{stroke:var(--failed);stroke-width:2;stroke-dasharray:4 3}
.bar text{fill:var(--on);font-size:11px;font-family:var(--mono);letter-spacing:-.2px}
.bar rect{stroke:var(--soft)}
.ok{fill:var(--done);color:var(--done)}.fix{fill:var(--fix);color:var(--fix)}.bad{fill:var(--failed);color:var(--failed)}
.ask{fill:var(--reviewing);color:var(--reviewing)}.parts{fill:var(--delegated);color:var(--delegated)}
.limit{fill:var(--limit);color:var(--limit)}.cut{fill:var(--cut);color:var(--cut)}
.now{fill:var(--running);color:var(--running)}
.dag.fit{max-width:100%;min-width:760px;height:auto}
.box{fill:var(--card);stroke:currentColor;stroke-width:1.4}
.node text{font-family:var(--mono);font-size:11.5px}
.node .sign{fill:currentColor;text-anchor:middle;font-size:14px;font-weight:700}
.node.failed .box,.node.stuck .box{stroke-width:2.6}
.node.blocked .box,.node.waiting .box,.node.skipped .box,.node.cancelled .box{stroke-dasharray:4 3}
.edge{fill:none;stroke:var(--cut);stroke-width:1.2;opacity:.75}
.edge.part-of{stroke:var(--delegated);stroke-dasharray:2 3}
.edge.held{stroke:var(--failed);stroke-dasharray:5 4;opacity:1}
table.cross{width:auto}.cross th{white-space:nowrap}.cross td,.cross thead th{text-align:center;padding:5px 12px}
.cross td.beside{font-weight:700;color:var(--failed)}
footer{padding-bottom:32px;color:var(--dim);font-size:13px}
@media (max-width:640px){
main,header,footer{padding:0 12px}header{padding-top:18px}section{padding:14px}
h1{font-size:21px}.figures{grid-template-columns:1fr 1fr}.figures dd{font-size:18px}
.tasks thead{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}
.timeline,.stages{min-width:1040px}.dag.fit{max-width:none;min-width:0}
.tasks,.tasks tbody,.tasks caption{display:block}
.tasks tr{display:flex;flex-wrap:wrap;gap:0 12px;border-bottom:1px solid var(--line);padding:8px 0}
.tasks th,.tasks td{border:0;padding:0;text-align:left}
.tasks th{flex:1 0 100%}
.tasks td{font-size:13px}.tasks td:not([class]),.tasks td[data-l]{color:var(--dim)}
.tasks td:empty{display:none}
.tasks td[data-l]::before{content:attr(data-l) " "}
}
@media print{
:root{color-scheme:light}body{background:#fff;font-size:11pt}
section,.figures div{border-color:#bbb}.case,tr,.figures div{break-inside:avoid}
.timeline,.stages{min-width:0;width:100%}.dag,.dag.fit{min-width:0;max-width:100%;height:auto}.wide{overflow:visible}
table{font-size:9pt}th,td{padding:3px 6px 3px 0}h2,h3{break-after:avoid}
}
"""
