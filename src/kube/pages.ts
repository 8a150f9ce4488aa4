import type { KubeObject, Resource } from '../api/object.ts'
import { errorOf, readJson, readObject, readStatus } from './answers.ts'
import type { WatchScope } from './cluster.ts'
import { acceptFor, describeScope, scopePath } from './paths.ts'
import type { Transport } from './transport.ts'

export interface Page {
  readonly objects: readonly KubeObject[]
  /** Of the whole list: where a watch goes on from. */
  readonly resourceVersion: string
}

export interface PageOptions {
  readonly pageSize: number
  readonly atOneMoment?: boolean
  readonly signal?: AbortSignal
}

interface RawList {
  readonly items?: readonly unknown[] | null
  readonly metadata?: { readonly continue?: string; readonly resourceVersion?: string }
}

/**
 * A list, page by page. It is as it was at one moment, unless it takes so long that the server forgets that moment: then
 * it goes on with what is there now, or, with `atOneMoment`, it fails.
 */
export async function* readPages(
  transport: Transport,
  resource: Resource,
  scope: WatchScope,
  { pageSize, atOneMoment = false, signal }: PageOptions,
): AsyncGenerator<Page> {
  const about = describeScope(resource, scope)
  let token: string | undefined
  do {
    const answer = await transport.request({
      method: 'GET',
      path: scopePath(resource, scope, { limit: pageSize, continue: token }),
      accept: acceptFor(scope, 'List'),
      about,
      repeatable: true,
      signal,
    })
    if (answer.status === 410 && token !== undefined && !atOneMoment) {
      const next = readStatus(answer).metadata?.continue
      if (next && next !== token) {
        token = next
        continue
      }
    }
    if (answer.status !== 200) throw errorOf(answer, about, resource.kind)
    const { items, metadata = {} } = readJson(answer.body, about) as RawList
    const objects = (items ?? []).map((item) => readObject(item, resource, scope.metadataOnly))
    yield { objects, resourceVersion: metadata.resourceVersion ?? '' }
    token = metadata.continue || undefined
  } while (token !== undefined)
}
