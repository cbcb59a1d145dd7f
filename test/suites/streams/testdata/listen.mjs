// SPDX-License-Identifier: Apache-2.0
// Prints what an EventSource gets, one line an event: type, run, id. URL and TOKEN are in the environment, the path of the package
// eventsource is the argument.
const { EventSource } = await import(process.argv[2]);

const source = new EventSource(process.env.URL, {
  fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${process.env.TOKEN}` } }),
});
source.addEventListener("open", () => console.log("open"));
for (const type of ["trigger", "coalesced", "leased", "progress", "complete", "fail", "cancel", "delete"].map((t) => `run:${t}`)) {
  source.addEventListener(type, (e) => console.log(type, JSON.parse(e.data).run.metadata.name));
}
source.addEventListener("reset", () => console.log("reset"));
source.addEventListener("error", (e) => {
  if (e.data) console.log("refused", JSON.parse(e.data).code);
  if (source.readyState === EventSource.CLOSED) console.log("closed", e.code);
});
