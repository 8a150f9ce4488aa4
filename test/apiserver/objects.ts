import type { Condition, KubeObject, ObjectName, Resource, Secret } from '../../src/api/object.ts'
import type { ApiRequests } from '../controlplane/requests.ts'
import { eventually } from '../support/wait.ts'

/** An object as the API server has it. */
export interface Stored extends KubeObject {
  readonly metadata: KubeObject['metadata'] & { readonly uid: string; readonly resourceVersion: string }
  readonly spec: Readonly<Record<string, unknown>>
  readonly status?: StoredStatus
  readonly data?: Readonly<Record<string, string>>
}

interface StoredStatus extends Readonly<Record<string, unknown>> {
  readonly observedGeneration?: number
  readonly conditions?: readonly Condition[]
}

/** What people and other programs than Postern do to objects. Every method throws where the API server refuses. */
export interface Objects {
  /** As `kubectl apply --server-side`. */
  apply(resource: Resource, object: Pick<KubeObject, 'metadata' | 'spec'> & Pick<Secret, 'data'>): Promise<Stored>
  /** As `kubectl patch --type=merge`. */
  patch(resource: Resource, name: ObjectName, change: object): Promise<Stored>
  get(resource: Resource, name: ObjectName): Promise<Stored | undefined>
  list(resource: Resource, namespace: string): Promise<readonly Stored[]>
  delete(resource: Resource, name: ObjectName): Promise<void>
  /** The object when this holds of it. The error that it throws when time is over tells the status. */
  until(resource: Resource, name: ObjectName, what: string, holds: (object: Stored) => boolean): Promise<Stored>
  /** The same, of a condition of an object whose status is about its spec. */
  untilCondition(resource: Resource, name: ObjectName, type: string, reason: string): Promise<Condition>
}

export function objects(requests: ApiRequests): Objects {
  const send: ApiRequests['send'] = (...request) => requests.send(...request)
  const must = async (...request: Parameters<typeof send>): Promise<Stored> => {
    const { status, body } = await send(...request)
    if (status >= 300) throw new Error(`${request[0]} ${request[1]}: ${status} ${JSON.stringify(body)}`)
    return body as Stored
  }
  const get: Objects['get'] = async (resource, name) => {
    const { status, body } = await send('GET', pathOf(resource, name))
    if (status === 404) return undefined
    if (status !== 200) throw new Error(`GET ${pathOf(resource, name)}: ${status} ${JSON.stringify(body)}`)
    return body as Stored
  }
  const until: Objects['until'] = async (resource, name, what, holds) => {
    let last: Stored | undefined
    const look = async (): Promise<Stored | false> => {
      last = await get(resource, name)
      return last !== undefined && holds(last) && last
    }
    return eventually(`${resource.kind} ${name.name}: ${what}`, look, 30).catch((error: Error) => {
      throw new Error(`${error.message}; last seen: ${JSON.stringify(last?.status ?? last?.metadata)}`)
    })
  }
  return {
    apply: (resource, object) => {
      const { apiVersion, kind } = resource
      const path = `${pathOf(resource, object.metadata)}?fieldManager=somebody&force=true`
      return must('PATCH', path, { apiVersion, kind, ...object }, 'application/apply-patch+yaml')
    },
    patch: (resource, name, change) => must('PATCH', pathOf(resource, name), change, 'application/merge-patch+json'),
    get,
    async list(resource, namespace) {
      const { items } = (await must('GET', pathOf(resource, { namespace, name: '' }))) as unknown as { items: Stored[] }
      return items
    },
    async delete(resource, name) {
      await must('DELETE', pathOf(resource, name))
    },
    until,
    async untilCondition(resource, name, type, reason) {
      const object = await until(resource, name, `${type} ${reason}`, (found) => {
        return (
          found.status?.observedGeneration === found.metadata.generation && conditionOf(found, type)?.reason === reason
        )
      })
      return conditionOf(object, type)!
    },
  }
}

export const conditionOf = ({ status }: Stored, type: string): Condition | undefined =>
  status?.conditions?.find((condition) => condition.type === type)

function pathOf({ apiVersion, plural }: Resource, { namespace, name }: ObjectName): string {
  const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const place = namespace === undefined ? '' : `/namespaces/${namespace}`
  return `${group}${place}/${plural}${name === '' ? '' : `/${name}`}`
}
