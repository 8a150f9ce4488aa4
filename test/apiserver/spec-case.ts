/** A spec, and what is to become of it at the API server and in our own code alike. */
export interface SpecCase {
  readonly what: string
  readonly spec: object
  /** Path of the field that both name, such as `spec.ports[0].listenPort`; undefined where both take the spec. */
  readonly wrong?: string
  /** The same where the API server takes it, and only the operator can see what is wrong. */
  readonly wrongLater?: string
}

/** One case for each value of a field. */
export const each = <T>(
  values: readonly T[],
  make: (value: T) => Omit<SpecCase, 'what'> & { readonly what?: string },
): SpecCase[] => values.map((value) => ({ what: JSON.stringify(value), ...make(value) }))

export const repeated = (text: string, times: number): string => text.repeat(times)

/** So many different names. */
export const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `n${index}`)
