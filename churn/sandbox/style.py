"""How the page looks."""

STYLE = """
:root{--ink:#1b2433;--quiet:#5d6b7e;--line:#e1e6ee;--back:#f4f6f9;--main:#3459c4;--soft:#e8edfb}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;color:var(--ink);background:var(--back);
  margin:0}
main{max-width:1140px;margin:0 auto 4rem;padding:0 1.5rem}
.loud{background:#9b1c2e;color:#fff;padding:.7rem 1.5rem;text-align:center;font-weight:600;letter-spacing:.01em;
  position:sticky;top:0;z-index:1}
h1{font-size:1.6rem;margin:1.6rem 0 1rem}
h2{font-size:1.15rem;margin:0 0 .7rem}
main>h2{margin:1.8rem 0 .7rem}
h3{font-size:1rem;margin:0 0 .2rem}
table+h3{margin-top:1rem}
.cards{display:grid;grid-template-columns:repeat(6,1fr);gap:.8rem}
.card,section{background:#fff;border:1px solid var(--line);border-radius:10px;box-shadow:0 1px 2px #1b24330d}
.card{padding:.8rem 1rem}
.card b{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}
.card span,.quiet,section>p{color:var(--quiet);font-size:.88rem;margin:.1rem 0 .6rem}
section{padding:1.1rem 1.3rem;margin:1.2rem 0}
.grid{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:1.2rem;align-items:stretch}
.grid section{margin:0}
section+.grid,.grid+section{margin-top:1.2rem}
form{display:flex;flex-wrap:wrap;gap:.6rem;align-items:center}
form em{font-style:normal;font-size:.75rem;font-weight:700;color:var(--quiet);letter-spacing:.05em}
.row{display:flex;gap:.35rem;background:var(--back);border:1px solid var(--line);border-radius:8px;padding:.35rem}
select,input,button{font:inherit;font-size:.9rem;padding:.3rem .5rem;border:1px solid #c9d2df;border-radius:6px;
  background:#fff;color:inherit}
input{width:8rem}
button{background:var(--main);border-color:var(--main);color:#fff;font-weight:600;padding:.45rem 1.1rem}
section>.result{font-size:1rem;margin:1rem 0 .5rem}
.result b{font-size:2.1rem;line-height:1.1;color:var(--main);font-variant-numeric:tabular-nums}
section>.note{background:#fff6df;border-left:4px solid #e0a100;color:#6a4c00;padding:.45rem .8rem;margin:.4rem 0;
  border-radius:0 6px 6px 0;font-size:.9rem}
details .scroll{margin-top:0}
details{margin-top:.8rem}
summary{cursor:pointer;color:var(--main);font-size:.9rem;margin-bottom:.4rem}
.scroll{margin-top:.9rem;max-height:22rem;overflow:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:.88rem}
td,th{padding:.32rem .8rem;border-bottom:1px solid var(--line);text-align:left;overflow-wrap:anywhere}
th{color:var(--quiet);font-weight:600;font-size:.78rem;background:#fafbfd}
.scroll th{position:sticky;top:0}
.scroll tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td i{color:#9aa6b6}
.kind{background:var(--soft);color:var(--main);border-radius:20px;padding:.05rem .6rem;font-weight:600;
  font-size:.75rem;vertical-align:.1em}
.bar{width:7rem;height:.6rem;background:var(--soft);border-radius:3px;vertical-align:middle}
.spread{width:100%;height:5.5rem;border-bottom:1px solid var(--line);margin-top:.4rem}
rect{fill:var(--main)}
section>.ends{display:flex;justify-content:space-between;margin:.2rem 0 0}
.yes,.no{border-radius:20px;padding:.05rem .6rem;font-weight:600;font-size:.78rem}
.yes{background:#dcf3e4;color:#17683a}
.no{background:#eceff4;color:var(--quiet)}
"""
