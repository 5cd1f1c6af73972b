// Send two spans, each in a request of its own, and a count: with the exporters and compressions that there are.
import { OTLPTraceExporter as Json } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as Proto } from "@opentelemetry/exporter-trace-otlp-proto";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { BasicTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";

const address = process.argv[2];
for (const [name, Exporter] of [["json", Json], ["proto", Proto]]) {
  for (const compression of ["none", "gzip"]) {
    const exporter = new Exporter({ url: `${address}/v1/traces`, compression });
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
    for (const n of [1, 2]) {
      provider.getTracer("t").startSpan(`${name}-${compression}-${n}`).end();
      await provider.forceFlush();
    }
    await provider.shutdown();
  }
}
const exporter = new OTLPMetricExporter({ url: `${address}/v1/metrics`, compression: "gzip" });
const meters = new MeterProvider({ readers: [new PeriodicExportingMetricReader({ exporter })] });
meters.getMeter("t").createCounter("clicks", { unit: "1" }).add(3);
await meters.shutdown();
