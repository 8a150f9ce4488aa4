/** The command line asks for something that cannot be done as it is written: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
