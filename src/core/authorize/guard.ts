import type { PolicyDocument } from '../../api/verification.ts'
import { compileHosts, type HostMatcher } from '../host.ts'
import {
  anyReadingMatches,
  compileRule,
  everyReadingMatches,
  namedSegment,
  type PathReadings,
  type RequestRule,
  readPath,
} from '../match.ts'
import { RecentlyUsed } from '../recently-used.ts'
import { type ClientAddressRule, compileClientAddress } from './client-address.ts'
import { type CredentialPlaces, compilePlaces } from './credential.ts'
import { type ClassifyField, fieldClassifier } from './fields.ts'
import type { CompiledResource } from './resources.ts'
import { textOf } from './values.ts'

/** A policy as the checks use it: everything that can be known before a request comes. */
export interface Guard {
  readonly document: PolicyDocument
  readonly hosts: HostMatcher
  readonly places: CredentialPlaces
  readonly clientAddress: ClientAddressRule
  readonly classify: ClassifyField
  /** By index of an interface: the resources that its requests name. */
  readonly resourcesOf: readonly (readonly CompiledResource[])[]
  /** What the policy says of a method and a canonical path. */
  route(method: string, path: string): Route
}

export interface Route {
  readonly denied: boolean
  readonly public: boolean
  /** Indexes of the interfaces that the request matches in every reading of its path, in the policy's order. */
  readonly interfaces: readonly number[]
  /**
   * By interface, and then by index of the resource: what the path names. Undefined for nothing, null for what can be read
   * in two ways. Absent where no resource stands in a path.
   */
  readonly segments?: ReadonlyMap<number, readonly (string | null | undefined)[]>
}

/** Routes that are remembered, by method. An attacker who asks for ever new paths costs the others a look-up, no more. */
const rememberedRoutes = 4096
const rememberedMethods = 16

export function compileGuard(document: PolicyDocument): Guard {
  const denied = document.denied.map(compileRule)
  const open = document.public.map(compileRule)
  const interfaces = document.interfaces.map(({ match }) => match.map(compileRule))
  const resources = document.resources.map((resource, index) => ({ ...resource, index }))
  const routes = new Map<string, RecentlyUsed<Route>>()
  return {
    document,
    hosts: compileHosts(document.hosts),
    places: compilePlaces(document.credentials),
    clientAddress: compileClientAddress(document.clientAddress),
    classify: fieldClassifier(document),
    resourcesOf: interfaces.map((_, index) => resources.filter((resource) => resource.interfaces.includes(index))),
    route(method, path) {
      let ofMethod = routes.get(method)
      if (!ofMethod) {
        ofMethod = new RecentlyUsed(rememberedRoutes)
        if (routes.size < rememberedMethods) routes.set(method, ofMethod)
      }
      const known = ofMethod.get(path)
      if (known) return known
      const route = findRoute({ denied, public: open, interfaces, resources }, method, path)
      ofMethod.set(path, route)
      return route
    },
  }
}

interface Rules {
  readonly denied: readonly RequestRule[]
  readonly public: readonly RequestRule[]
  readonly interfaces: readonly (readonly RequestRule[])[]
  readonly resources: readonly CompiledResource[]
}

function findRoute(rules: Rules, method: string, canonicalPath: string): Route {
  const path = readPath(canonicalPath)
  const interfaces = rules.interfaces.flatMap((match, index) =>
    everyReadingMatches(match, method, path) ? [index] : [],
  )
  return {
    denied: anyReadingMatches(rules.denied, method, path),
    public: everyReadingMatches(rules.public, method, path),
    interfaces,
    ...(rules.resources.some(({ from }) => from.path !== undefined) && {
      segments: new Map(interfaces.map((index) => [index, findSegments(rules, index, method, path)])),
    }),
  }
}

const findSegments = (
  { interfaces, resources }: Rules,
  index: number,
  method: string,
  path: PathReadings,
): (string | null | undefined)[] =>
  resources.map(({ from }) => {
    if (from.path === undefined) return undefined
    const segment = namedSegment(interfaces[index]!, method, path, from.path)
    return typeof segment === 'string' ? (textOf(segment) ?? null) : segment
  })
