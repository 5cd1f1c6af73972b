// Run the code of Segment's own destinations on messages, and print what each would send, or why it refuses.
//
// Standard input: {"mappings": {destination: {field: value}}, "messages": [...]}. Standard output: {destination: {"sent":
// [[position, request], ...], "refused": [[position, why], ...]}}. Runs in the folder that has node_modules. Nothing is sent.
const { createRequire } = require("node:module");
const load = createRequire(`${process.cwd()}/`);

let requests = [];
const crossFetch = load("cross-fetch");
const answer = async (...call) => {
  const request = new crossFetch.Request(...call);
  const text = await request.text();
  let body = text; // a form, of the actions for identify
  if (text.startsWith("{") || text.startsWith("[")) body = JSON.parse(text);
  requests.push({ url: request.url.replace(/[?].*/, ""), body });
  return new crossFetch.Response("{}", { status: 200, headers: { "Content-Type": "application/json" } });
};
const path = load.resolve("cross-fetch");
require.cache[path].exports = Object.assign(answer, crossFetch, { default: answer, fetch: answer, __esModule: true });

const { Destination } = load("@segment/actions-core");
// [folder, action for track, action for identify or none, settings]
const DESTINATIONS = {
  GA4: ["google-analytics-4", "customEvent", "", { measurementId: "G-AB12CD34EF", apiSecret: "s" }],
  PostHog: ["posthog", "event", "identify", { api_key: "k", endpoint: "https://eu.i.posthog.com", geoip_disable: true }],
  Mixpanel: ["mixpanel", "trackEvent", "identifyUser", { projectToken: "t", apiSecret: "s", apiRegion: "EU" }],
  Amplitude: ["amplitude", "logEventV2", "identifyUser", { apiKey: "k", secretKey: "s", endpoint: "europe" }],
};

function mappingOf(action, changes) {
  const fields = Object.entries(action.fields).filter(([, field]) => field.default !== undefined);
  return { ...Object.fromEntries(fields.map(([name, field]) => [name, field.default])), ...changes };
}

async function main(input) {
  const verdicts = {};
  for (const [name, [folder, track, identify, settings]] of Object.entries(DESTINATIONS)) {
    const definition = load(`@segment/action-destinations/dist/destinations/${folder}`).default;
    const destination = new Destination(definition);
    const verdict = (verdicts[name] = { sent: [], refused: [] });
    for (const [position, message] of input.messages.entries()) {
      const action = message.type === "identify" ? identify : track;
      if (!action) continue;
      requests = [];
      const changes = (input.mappings[name] || {})[action] || {};
      const mapping = mappingOf(definition.actions[action], changes);
      // As Segment hands it on: with the time at which it was received.
      const event = { ...message, receivedAt: "2030-01-01T00:00:00.000Z" };
      try {
        await destination.executeAction(action, { event, mapping, settings, features: {}, statsContext: {} });
        verdict.sent.push([position, requests]);
      } catch (error) {
        verdict.refused.push([position, `${error.name}: ${error.message}`]);
      }
    }
  }
  return verdicts;
}

let text = "";
process.stdin.on("data", (part) => (text += part));
process.stdin.on("end", () => main(JSON.parse(text)).then((verdicts) => process.stdout.write(JSON.stringify(verdicts))));
