/** The contexts of the bypass cases in which a gateway asks, and how their cases are played. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeVolume } from '../support/kubelet.ts'
import { filesOf, policyOf, published, signer } from '../support/verification.ts'
import { eventually } from '../support/wait.ts'
import { contexts, fillIn } from './bypass-contexts.ts'
import { assertions, type BypassCase, type Observation } from './bypass-judge.ts'
import { CheckClient } from './check-client.ts'
import type { CheckResponse } from './check-messages.ts'
import { RawClient, type ReceivedAnswer } from './raw-client.ts'
import { type GuardedPolicy, type SidecarProcess, startSidecarProcess } from './sidecar-process.ts'

/** By context: the policy's own context, and who may ask. */
export const decisionContexts: Readonly<Record<string, { readonly policy: string; readonly trusted: boolean }>> = {
  FA_NGINX: { policy: 'P_SCOPED', trusted: true },
  FA_NGINX_ANON: { policy: 'P_ANON_PUBLIC', trusted: true },
  FA_UNTRUSTED_PEER: { policy: 'P_SCOPED', trusted: false },
  FA_TRAEFIK: { policy: 'P_SCOPED', trusted: true },
  FA_TRAEFIK_HOST: { policy: 'P_HOST', trusted: true },
  // The policy is asked about the handshake alone: whether protocols may be switched is the gateway's business.
  FA_TRAEFIK_WS: { policy: 'P_SCOPED', trusted: true },
  FA_CADDY: { policy: 'P_SCOPED', trusted: true },
  FA_CADDY_METHOD: { policy: 'P_METHOD', trusted: true },
  EA_HTTP: { policy: 'P_SCOPED', trusted: true },
  EA_HTTP_METHOD: { policy: 'P_METHOD', trusted: true },
  EA_GRPC: { policy: 'P_SCOPED', trusted: true },
  EA_GRPC_HOST: { policy: 'P_HOST', trusted: true },
  EA_GRPC_IP: { policy: 'P_IP', trusted: true },
}

const patienceSeconds = 20
const grpcTransport = 'grpc:envoy.service.auth.v3.Authorization/Check'

/** Throws where a case asks for what is not known here: it would otherwise pass unseen. */
export function refuseUnknownDecision({ id, transport, raw_request: text, assert = {} }: BypassCase): void {
  if (transport !== 'http1' && transport !== grpcTransport) throw new Error(`${id}: unknown transport ${transport}`)
  if (text.includes('<<<')) throw new Error(`${id}: no action is known in a decision context`)
  for (const [name, value] of Object.entries(assert)) {
    if (name !== 'check_response') {
      if (!(name in assertions)) throw new Error(`${id}: unknown assert ${name}`)
      continue
    }
    for (const inner of Object.keys(value as object))
      if (!(inner in responseAssertions)) throw new Error(`${id}: unknown assert check_response.${inner}`)
  }
}

/** @returns by case, in the order given, everything that differs */
export async function playDecisionCases(
  cases: readonly BypassCase[],
  allowanceMilliseconds: number,
): Promise<readonly { readonly id: string; readonly problems: readonly string[] }[]> {
  if (cases.length === 0) return []
  const stage = await openStage()
  const results = []
  try {
    for (const one of cases) {
      const play = one.transport === 'http1' ? stage.overHttp(one, allowanceMilliseconds) : stage.overGrpc(one)
      results.push({ id: one.id, problems: await play.catch((error: unknown) => [String(error)]) })
    }
  } finally {
    await stage.close()
  }
  return results
}

const policyNameOf = (context: string): string =>
  `bypass/${decisionContexts[context]!.policy.toLowerCase().replaceAll('_', '-')}`

async function openStage() {
  const root = await mkdtemp(join(tmpdir(), 'postern-decisions-'))
  const policies = [...new Map(Object.keys(decisionContexts).map((name) => [policyNameOf(name), name]))]
  const mounted: GuardedPolicy[] = []
  for (const [policy, name] of policies) {
    const [namespace, policyName] = policy.split('/')
    const { spec, keys } = contexts[decisionContexts[name]!.policy]!
    const directory = join(root, policyName!)
    await mkdir(directory)
    await writeVolume(directory, filesOf(published(policyOf(spec, policyName, namespace), keys)))
    mounted.push({ policy, directory })
  }
  const places = ['--decisions', '127.0.0.1:0', '--decisions-grpc', '127.0.0.1:0']
  const start = (flags: readonly string[]) =>
    startSidecarProcess(mounted, undefined, signer.publicKey, [...places, ...flags])
  const trusting = await start(['--trusted-peers', '192.0.2.0/24,127.0.0.1'])
  const wary = await start([])
  const processOf = ({ policy_context: context }: BypassCase): SidecarProcess =>
    decisionContexts[context]!.trusted ? trusting : wary
  for (const sidecar of [trusting, wary])
    await eventually(
      'sets',
      async () => (await sidecar.metrics()).split('postern_set_sequence{').length > mounted.length,
    )

  return {
    async overHttp(one: BypassCase, allowanceMilliseconds: number): Promise<string[]> {
      // The cases name no policy; their contexts do.
      const text = one.raw_request.replace(/^(\S+ \/authz\/[a-z]+)/, `$1/${policyNameOf(one.policy_context)}`)
      const client = await RawClient.open(processOf(one).decisionPort('HTTP'), text.startsWith('HEAD '))
      try {
        client.send(fillIn(text))
        await client.firstAnswer(patienceSeconds)
        await client.finish(patienceSeconds)
        const answers = client.finalAnswers()
        return [
          ...differences(
            one,
            answers.map(({ status }) => status),
          ),
          ...assertionProblems(one, answers, client, allowanceMilliseconds),
        ]
      } finally {
        client.destroy()
      }
    },
    async overGrpc(one: BypassCase): Promise<string[]> {
      const message = JSON.parse(fillIn(one.raw_request)) as { attributes?: object }
      const contextExtensions = { policy: policyNameOf(one.policy_context) }
      const named =
        message.attributes === undefined ? message : { attributes: { ...message.attributes, contextExtensions } }
      const client = new CheckClient(processOf(one).decisionPort('gRPC'))
      try {
        const { grpcStatus, response } = await client.check(named)
        if (grpcStatus !== '0' || response === undefined) return [`an error of gRPC: ${grpcStatus}`]
        const { okResponse, deniedResponse, status } = response
        const code = okResponse !== undefined && (status?.code ?? 0) === 0 ? 200 : deniedResponse?.status.code
        const expectations = Object.entries((one.assert?.check_response ?? {}) as Record<string, unknown>)
        return [
          ...differences(one, [code ?? 0]),
          ...expectations.flatMap(([name, value]) =>
            responseAssertions[name]!(value, response)
              ? []
              : [`check_response.${name} ${JSON.stringify(value)}: it is not so`],
          ),
        ]
      } finally {
        client.close()
      }
    },
    async close(): Promise<void> {
      await trusting.stop()
      await wary.stop()
      await rm(root, { recursive: true })
    },
  }
}

function differences({ expected }: BypassCase, statuses: readonly number[]): string[] {
  const matches = (outcome: string): boolean =>
    outcome === 'allow'
      ? statuses[0] === 200 || statuses[0] === 204
      : outcome === 'deny'
        ? statuses[0] === 401 || statuses[0] === 403
        : String(statuses[0]) === outcome
  return statuses.length === 1 && expected.split('|').some(matches)
    ? []
    : [`expected ${expected}, saw ${statuses.join(',')}`]
}

function assertionProblems(
  { assert = {} }: BypassCase,
  answers: readonly ReceivedAnswer[],
  client: RawClient,
  allowanceMilliseconds: number,
): string[] {
  const seen: Observation = {
    answers,
    interimAnswers: client.interimAnswers(),
    upstream: [],
    closed: client.closed,
    millisecondsToAnswer: client.millisecondsToAnswer,
    millisecondsFromAnswerToClose: client.millisecondsFromAnswerToClose,
    alive: true,
    allowanceMilliseconds,
  }
  return Object.entries(assert).flatMap(([name, value]) => {
    const problem = assertions[name]!(value, seen)
    return problem === undefined ? [] : [`${name} ${JSON.stringify(value)}: ${problem}`]
  })
}

const headersOf = ({ okResponse, deniedResponse }: CheckResponse) =>
  okResponse?.headers ?? deniedResponse?.headers ?? []

const responseAssertions: Readonly<Record<string, (value: unknown, response: CheckResponse) => boolean>> = {
  headers_append_explicit_false: (value, { okResponse }) =>
    (okResponse?.headers ?? []).every(
      ({ append, appendAction }) => append !== undefined && append.value !== true && appendAction === 2,
    ) === value,
  set_and_remove_disjoint: (value, { okResponse }) => {
    const set = (okResponse?.headers ?? []).map(({ header }) => header.key.toLowerCase())
    return !(okResponse?.headersToRemove ?? []).some((name) => set.includes(name.toLowerCase())) === value
  },
  headers_to_remove_includes: (value, { okResponse }) =>
    (value as string[]).every((name) => okResponse?.headersToRemove?.includes(name)),
  header_equals: (value, response) =>
    Object.entries(value as Record<string, string>).every(([name, text]) => {
      const found = headersOf(response).filter(({ header }) => header.key.toLowerCase() === name.toLowerCase())
      return found.length === 1 && found[0]!.header.value === fillIn(text)
    }),
  valid_header_chars: (value, response) =>
    headersOf(response).every(
      ({ header }) => /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(header.key) && /^[\t -~]*$/.test(header.value),
    ) === value,
}
