#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { logLevels } from './runtime/log.ts'
import { UsageError } from './runtime/usage-error.ts'

/** Arguments and environment are read here and nowhere else; a role is loaded when it is asked for. */
const program = new Command('postern')
  .description('API keys for Kubernetes workloads, declared as resources and checked by a sidecar.')
  .showHelpAfterError('(postern --help tells more)')
  .exitOverride()

const logLevel = new Option('--log-level <level>', 'what is worth a line in the log').choices(logLevels).default('info')
const admin = (port: number): Option =>
  new Option('--admin <host:port>', 'where health and metrics are served')
    .argParser(address)
    .default({ host: '127.0.0.1', port }, `127.0.0.1:${port}`)

program
  .command('operator')
  .description('reconcile ApiKeys and AccessPolicies of a cluster')
  .option('--kubeconfig <file>', 'how the cluster is reached', process.env.KUBECONFIG)
  .option('--namespace <name>', "where the operator's own Secret is", process.env.POD_NAMESPACE ?? 'postern-system')
  .option('--settings <file>', 'settings, as YAML')
  .addOption(admin(15490))
  .addOption(logLevel)
  .action(async (options) => {
    const { runOperator } = await import('./operator/start.ts')
    await runOperator(options, ended())
  })

program
  .command('sidecar')
  .description('guard ports of one pod, or answer gateways, by the verification sets that are mounted into it')
  .option(
    '--guard <namespace/policy@host:port=host:port>',
    'listen at the first address, guard the second',
    collect,
    [],
  )
  .option('--verification <namespace/policy=directory>', "where the policy's verification set is mounted", collect, [])
  .option('--public-key <base64url>', 'an Ed25519 key that may sign verification sets', collect, [])
  .option('--policy-uid <namespace/policy=uid>', 'refuse sets of another policy of this name', collect, [])
  .option('--decisions <host:port>', 'where gateways may ask over HTTP about requests', address)
  .option('--decisions-grpc <host:port>', 'the same by envoy.service.auth.v3.Authorization', address)
  .option('--trusted-peers <cidr,...>', 'gateways that may ask, by address; nobody else is answered', collect, [])
  .option('--limit <name=number>', 'change a bound of the data path', collect, [])
  .addOption(admin(15490))
  .addOption(logLevel)
  .action(async (options) => {
    const { runSidecar } = await import('./sidecar/start.ts')
    await runSidecar(options, ended())
  })

program
  .command('standalone')
  .description('the whole job on one machine: a directory of manifests in the place of an API server')
  .requiredOption('--manifests <directory>', 'what would be applied to a cluster')
  .requiredOption('--state <directory>', 'where Secrets, verification sets and status go')
  .requiredOption(
    '--guard <namespace/policy@host:port=host:port>',
    'listen at the first address, guard the second',
    collect,
    [],
  )
  .option('--decisions <host:port>', 'where gateways may ask over HTTP about requests', address)
  .option('--decisions-grpc <host:port>', 'the same by envoy.service.auth.v3.Authorization', address)
  .option('--trusted-peers <cidr,...>', 'gateways that may ask, by address; nobody else is answered', collect, [])
  .option('--settings <file>', 'settings, as YAML')
  .addOption(admin(15490))
  .addOption(logLevel)
  .action(async (options) => {
    const { runStandalone } = await import('./standalone/start.ts')
    await runStandalone({ ...options, tell: (problem: string) => process.stderr.write(`${problem}\n`) }, ended())
  })

/** For options that may be given several times. */
function collect(text: string, before: readonly string[]): readonly string[] {
  return [...before, text]
}

/** A host name or address, in brackets where it is IPv6, and a port. */
function address(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:]+)):(\d{1,5})$/i.exec(text)
  if (!match) throw new InvalidArgumentError('It must be host:port.')
  return { host: (match[1] ?? match[2])!, port: Number(match[3]) }
}

/** Resolves with the signal that asks the process to end. */
function ended(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal))
  })
}

try {
  await program.parseAsync()
} catch (error) {
  // Commander has said itself what is wrong, or has shown the help that was asked for.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    process.stderr.write(`postern: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}
