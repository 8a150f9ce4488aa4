import { collectDefaultMetrics, Registry } from 'prom-client'

/** Only rises. Children are plain numbers until somebody scrapes, so that counting on a hot path costs an addition. */
export interface Counter {
  add(amount?: number): void
}

export interface Gauge {
  set(value: number): void
  /** From now on the value is asked for at each scrape; undefined leaves the series out. */
  read(value: () => number | undefined): void
}

export interface Histogram {
  observe(value: number): void
}

/** All series of one name. The child of given label values is made once and kept by the caller. */
export interface Family<Child, Names extends readonly string[]> {
  with(...values: LabelValues<Names>): Child
  /** Forgets the series of these label values: what they spoke of is gone. */
  remove(...values: LabelValues<Names>): void
}

type LabelValues<Names extends readonly string[]> = { readonly [K in keyof Names]: string }

export interface Metrics {
  counter<const Names extends readonly string[]>(name: string, help: string, labelNames: Names): Family<Counter, Names>
  gauge<const Names extends readonly string[]>(name: string, help: string, labelNames: Names): Family<Gauge, Names>
  histogram<const Names extends readonly string[]>(
    name: string,
    help: string,
    labelNames: Names,
    /** Upper bounds in rising order; `+Inf` is added. */
    buckets: readonly number[],
  ): Family<Histogram, Names>
  /** Everything in the Prometheus text format. */
  text(): Promise<string>
  readonly contentType: string
}

/** A registry of its own, with the usual `process_*` and `nodejs_*` series unless told otherwise. */
export function createMetrics(options: { readonly process?: boolean } = {}): Metrics {
  const registry = new Registry()
  if (options.process !== false) collectDefaultMetrics({ register: registry })

  const register = <Child extends Sampled, Names extends readonly string[]>(
    type: 'counter' | 'gauge' | 'histogram',
    name: string,
    help: string,
    labelNames: Names,
    make: () => Child,
  ): Family<Child, Names> => {
    const children = new Map<string, { readonly labels: Labels; readonly child: Child }>()
    const values = () => [...children.values()].flatMap(({ labels, child }) => child.samples(name, labels))
    const metric: SelfMadeMetric = { name, help, type, get: async () => ({ name, help, type, values: values() }) }
    // The registry asks nothing else of a metric; its declared type names the classes of prom-client alone.
    registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0])
    return {
      with: (...labelValues) => {
        const key = JSON.stringify(labelValues)
        const known = children.get(key)
        if (known !== undefined) return known.child
        const labels = Object.fromEntries(labelNames.map((label, index) => [label, labelValues[index] ?? '']))
        const child = make()
        children.set(key, { labels, child })
        return child
      },
      remove: (...labelValues) => {
        children.delete(JSON.stringify(labelValues))
      },
    }
  }

  return {
    counter: (name, help, labelNames) => register('counter', name, help, labelNames, () => new CounterChild()),
    gauge: (name, help, labelNames) => register('gauge', name, help, labelNames, () => new GaugeChild()),
    histogram: (name, help, labelNames, buckets) =>
      register('histogram', name, help, labelNames, () => new HistogramChild(buckets)),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

type Labels = Readonly<Record<string, string | number>>

interface Sample {
  readonly metricName: string
  readonly labels: Labels
  readonly value: number
}

interface Sampled {
  samples(name: string, labels: Labels): Sample[]
}

interface SelfMadeMetric {
  readonly name: string
  readonly help: string
  readonly type: string
  get(): Promise<{
    readonly name: string
    readonly help: string
    readonly type: string
    readonly values: readonly Sample[]
  }>
}

class CounterChild implements Counter, Sampled {
  private total = 0

  add(amount = 1): void {
    this.total += amount
  }

  samples(metricName: string, labels: Labels): Sample[] {
    return [{ metricName, labels, value: this.total }]
  }
}

class GaugeChild implements Gauge, Sampled {
  private ask: () => number | undefined = () => undefined

  set(value: number): void {
    this.ask = () => value
  }

  read(value: () => number | undefined): void {
    this.ask = value
  }

  samples(metricName: string, labels: Labels): Sample[] {
    const value = this.ask()
    return value === undefined ? [] : [{ metricName, labels, value }]
  }
}

class HistogramChild implements Histogram, Sampled {
  private readonly bounds: readonly number[]
  private readonly counts: Float64Array
  private sum = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    let index = 0
    while (index < this.bounds.length && value > this.bounds[index]!) index += 1
    this.counts[index]! += 1
    this.sum += value
  }

  samples(name: string, labels: Labels): Sample[] {
    let total = 0
    const buckets = [...this.bounds, '+Inf'].map((le, index): Sample => {
      total += this.counts[index]!
      return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: total }
    })
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: this.sum },
      { metricName: `${name}_count`, labels, value: total },
    ]
  }
}
