/**
 * Plays bypass cases against a real sidecar process in front of an application that records what reaches it.
 *
 *     npm run -s bypass -- FILE
 *
 * The file's format is described in test/data/bypass-contexts.json. Prints each case that differs, and last the sums.
 */

import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeVolume } from '../support/kubelet.ts'
import { filesOf, policyOf, published, signer } from '../support/verification.ts'
import { eventually } from '../support/wait.ts'
import { type Context, contexts, contextsToCome, fillIn, key } from './bypass-contexts.ts'
import { assertions, type BypassCase, judge } from './bypass-judge.ts'
import { decisionContexts, playDecisionCases, refuseUnknownDecision } from './decision-contexts.ts'
import { RawClient } from './raw-client.ts'
import { RecordingUpstream } from './recording-upstream.ts'
import { type SidecarProcess, startSidecarProcess } from './sidecar-process.ts'

export interface BypassResults {
  readonly passed: readonly string[]
  readonly failed: readonly { readonly id: string; readonly problems: readonly string[] }[]
  /** Of what the sidecar has no feature for yet. */
  readonly skipped: readonly { readonly id: string; readonly needs: string }[]
}

/** Deadlines that are only waited for are shortened; their real lengths are judged where they are set. */
const flags = ['--limit', 'headSeconds=1', '--limit', 'bodySeconds=1', '--limit', 'idleSeconds=2']
const patienceSeconds = 20

export async function playCases(
  cases: readonly BypassCase[],
  options: { readonly allowanceMilliseconds?: number } = {},
): Promise<BypassResults> {
  for (const one of cases) refuseUnknown(one)
  const playable = cases.filter((one) => needs(one) === undefined)
  const asked = playable.filter(({ policy_context: context }) => context in decisionContexts)
  const played = playable.filter(({ policy_context: context }) => !(context in decisionContexts))
  const skipped = cases.flatMap((one) => {
    const feature = needs(one)
    return feature === undefined ? [] : [{ id: one.id, needs: feature }]
  })
  const stage = played.length > 0 ? await Stage.open(played) : undefined
  const passed: string[] = []
  const failed: { id: string; problems: string[] }[] = []
  try {
    for (const one of played) {
      const problems = await stage!
        .play(one, options.allowanceMilliseconds ?? 0)
        .catch((error: unknown) => [String(error)])
      if (problems.length === 0) passed.push(one.id)
      else failed.push({ id: one.id, problems })
    }
  } finally {
    await stage?.close()
  }
  for (const { id, problems } of await playDecisionCases(asked, options.allowanceMilliseconds ?? 0)) {
    if (problems.length === 0) passed.push(id)
    else failed.push({ id, problems: [...problems] })
  }
  return { passed, failed, skipped }
}

const needs = ({ transport, policy_context: context }: BypassCase): string | undefined =>
  contextsToCome[context] ?? (transport === 'http1' || context in decisionContexts ? undefined : transport)

/** A case that asks for what this runner does not know would otherwise pass unseen. */
function refuseUnknown(one: BypassCase): void {
  const { id, policy_context: context, assert = {}, raw_request: text } = one
  if (context in decisionContexts) {
    refuseUnknownDecision(one)
    return
  }
  if (!(context in contexts) && !(context in contextsToCome))
    throw new Error(`${id}: unknown policy_context ${context}`)
  if (context in contextsToCome) return
  for (const name of Object.keys(assert)) if (!(name in assertions)) throw new Error(`${id}: unknown assert ${name}`)
  for (const action of actionsOf(text)) if (!(action in actions)) throw new Error(`${id}: unknown action ${action}`)
}

const outOfBand = /<<<(.*?)>>>/
const actionsOf = (text: string): string[] => text.split(outOfBand).filter((_, index) => index % 2 === 1)

/** A guarded policy with its mounted set. */
interface Scene {
  readonly policy: string
  readonly directory: string
  readonly context: Context
  sequence: number
}

const actions: Readonly<Record<string, (stage: Stage, scene: Scene) => Promise<void>>> = {
  'REVOKE {KEY}; WAIT applied': (stage, scene) => stage.revoke(scene),
  'SWAP ..data x3 with revoke on the 3rd': async (stage, scene) => {
    await stage.publish(scene)
    await stage.publish(scene)
    await stage.revoke(scene)
  },
  'START with missing bundle': async (stage, scene) => stage.expectNothing(scene),
  'REMOVE shard 2 of 3': (stage, scene) => stage.removeShard(scene, 1),
}

/** Sidecar, application and mounted sets, for all cases. */
class Stage {
  private readonly root: string
  private readonly upstream: RecordingUpstream
  private readonly scenes: ReadonlyMap<string, Scene>
  private readonly sidecar: SidecarProcess

  private constructor(
    root: string,
    upstream: RecordingUpstream,
    scenes: ReadonlyMap<string, Scene>,
    sidecar: SidecarProcess,
  ) {
    this.root = root
    this.upstream = upstream
    this.scenes = scenes
    this.sidecar = sidecar
  }

  static async open(cases: readonly BypassCase[]): Promise<Stage> {
    const root = await mkdtemp(join(tmpdir(), 'postern-bypass-'))
    const upstream = new RecordingUpstream()
    const port = await upstream.listen()
    const scenes = new Map<string, Scene>()
    for (const one of cases) {
      const name = sceneOf(one)
      const directory = join(root, name)
      await mkdir(directory, { recursive: true })
      scenes.set(name, { policy: `bypass/${name}`, directory, context: contexts[one.policy_context]!, sequence: 0 })
    }
    const sidecar = await startSidecarProcess([...scenes.values()], port, signer.publicKey, flags)
    const stage = new Stage(root, upstream, scenes, sidecar)
    const startsEmpty = new Set(
      cases.filter(({ raw_request: text }) => actionsOf(text).includes('START with missing bundle')).map(sceneOf),
    )
    for (const [name, scene] of scenes) if (!startsEmpty.has(name)) await stage.publish(scene)
    return stage
  }

  async close(): Promise<void> {
    await this.sidecar.stop()
    await this.upstream.stop()
    await rm(this.root, { recursive: true })
  }

  async play(one: BypassCase, allowanceMilliseconds: number): Promise<string[]> {
    const scene = this.scenes.get(sceneOf(one))!
    const [first = '', ...rest] = one.raw_request.split(outOfBand)
    await this.upstream.take()
    const client = await RawClient.open(this.sidecar.portOf(scene.policy), one.raw_request.startsWith('HEAD '))
    try {
      client.send(fillIn(first))
      for (let index = 0; index < rest.length; index += 2) {
        if (first !== '') await client.firstAnswer(patienceSeconds)
        await actions[rest[index]!]!(this, scene)
        client.send(fillIn(rest[index + 1]!))
      }
      await client.firstAnswer(patienceSeconds)
      if (one.assert !== undefined && 'idle_close_ms' in one.assert) await client.untilClosed(patienceSeconds)
      else await client.finish(patienceSeconds)
      return judge(one, {
        answers: client.finalAnswers(),
        interimAnswers: client.interimAnswers(),
        upstream: await this.upstream.take(),
        closed: client.closed,
        millisecondsToAnswer: client.millisecondsToAnswer,
        millisecondsFromAnswerToClose: client.millisecondsFromAnswerToClose,
        alive: this.sidecar.alive(),
        allowanceMilliseconds,
      })
    } finally {
      client.destroy()
    }
  }

  /** Writes a new set into the mounted directory, and waits until the sidecar serves it. */
  async publish(scene: Scene, keys = scene.context.keys): Promise<void> {
    scene.sequence += 1
    await writeVolume(scene.directory, this.files(scene, keys))
    const line = `postern_set_sequence{policy="${scene.policy}"} ${scene.sequence}\n`
    await eventually(line, async () => `${await this.sidecar.metrics()}\n`.includes(line), patienceSeconds)
  }

  revoke(scene: Scene): Promise<void> {
    return this.publish(
      scene,
      scene.context.keys.filter((one) => one.key !== key),
    )
  }

  async removeShard(scene: Scene, shard: number): Promise<void> {
    const files = this.files(scene, scene.context.keys)
    files.delete(`keys-${shard}`)
    files.delete(`grants-${shard}.json`)
    await writeVolume(scene.directory, files)
  }

  async expectNothing(scene: Scene): Promise<void> {
    if (scene.sequence !== 0) throw new Error('a set was published')
  }

  private files(scene: Scene, keys: Context['keys']): Map<string, Buffer> {
    const [namespace, name] = scene.policy.split('/')
    const policy = policyOf({ ...scene.context.spec, verification: { shards: 4 } }, name, namespace)
    return filesOf(published(policy, keys, { sequence: scene.sequence }))
  }
}

/** Cases that change their set have one of their own. */
const sceneOf = ({ id, policy_context: context, raw_request: text }: BypassCase): string =>
  (actionsOf(text).length > 0 ? `case-${id}` : context).toLowerCase().replaceAll('_', '-')

if (import.meta.main) {
  const [file] = process.argv.slice(2)
  if (file === undefined) throw new Error('usage: npm run -s bypass -- FILE')
  const cases = JSON.parse(await readFile(file, 'utf8')) as BypassCase[]
  const { passed, failed, skipped } = await playCases(cases)
  for (const { id, needs: feature } of skipped) console.log(`skipped ${id}: needs ${feature}`)
  for (const { id, problems } of failed) console.log(`differs ${id}: ${problems.join('; ')}`)
  console.log(`${passed.length} passed, ${failed.length} failed`)
  process.exitCode = failed.length > 0 ? 1 : 0
}
