import type { PolicyDocument } from '../../api/verification.ts'
import { compileHosts, type HostMatcher } from '../host.ts'
import { anyReadingMatches, compileRule, everyReadingMatches, type RequestRule, readPath } from '../match.ts'
import { RecentlyUsed } from '../recently-used.ts'
import { type ClientAddressRule, compileClientAddress } from './client-address.ts'
import { type CredentialPlaces, compilePlaces } from './credential.ts'
import { type ClassifyField, fieldClassifier } from './fields.ts'

/** A policy as the checks use it: everything that can be known before a request comes. */
export interface Guard {
  readonly document: PolicyDocument
  readonly hosts: HostMatcher
  readonly places: CredentialPlaces
  readonly clientAddress: ClientAddressRule
  readonly classify: ClassifyField
  /** What the policy says of a method and a canonical path. */
  route(method: string, path: string): Route
}

export interface Route {
  readonly denied: boolean
  readonly public: boolean
  /** Indexes of the interfaces that the request matches in every reading of its path, in the policy's order. */
  readonly interfaces: readonly number[]
}

/** Routes that are remembered, by method. An attacker who asks for ever new paths costs the others a look-up, no more. */
const rememberedRoutes = 4096
const rememberedMethods = 16

export function compileGuard(document: PolicyDocument): Guard {
  const denied = document.denied.map(compileRule)
  const open = document.public.map(compileRule)
  const interfaces = document.interfaces.map(({ match }) => match.map(compileRule))
  const routes = new Map<string, RecentlyUsed<Route>>()
  return {
    document,
    hosts: compileHosts(document.hosts),
    places: compilePlaces(document.credentials),
    clientAddress: compileClientAddress(document.clientAddress),
    classify: fieldClassifier(document),
    route(method, path) {
      let ofMethod = routes.get(method)
      if (!ofMethod) {
        ofMethod = new RecentlyUsed(rememberedRoutes)
        if (routes.size < rememberedMethods) routes.set(method, ofMethod)
      }
      const known = ofMethod.get(path)
      if (known) return known
      const route = findRoute({ denied, public: open, interfaces }, method, path)
      ofMethod.set(path, route)
      return route
    },
  }
}

interface Rules {
  readonly denied: readonly RequestRule[]
  readonly public: readonly RequestRule[]
  readonly interfaces: readonly (readonly RequestRule[])[]
}

function findRoute(rules: Rules, method: string, canonicalPath: string): Route {
  const path = readPath(canonicalPath)
  return {
    denied: anyReadingMatches(rules.denied, method, path),
    public: everyReadingMatches(rules.public, method, path),
    interfaces: rules.interfaces.flatMap((match, index) => (everyReadingMatches(match, method, path) ? [index] : [])),
  }
}
