import { Agent, type RequestOptions, request } from 'node:https'
import { text } from 'node:stream/consumers'
import { KubeConfig } from '@kubernetes/client-node'

export interface ApiAnswer {
  readonly status: number
  readonly body: unknown
}

/** Speaks with the API server over kept connections, in a millisecond or two where kubectl takes a tenth of a second. */
export interface ApiRequests {
  /**
   * One request, whatever the answer to it is.
   *
   * @param contentType of the body, which is sent as JSON
   */
  send(method: string, path: string, body?: object, contentType?: string): Promise<ApiAnswer>
  /** The object at a path (`/api/v1/namespaces/shop/configmaps/a`); undefined where there is none. */
  get(path: string): Promise<unknown>
}

export function apiRequests(kubeconfig: string): ApiRequests {
  const config = new KubeConfig()
  config.loadFromFile(kubeconfig)
  const server = config.getCurrentCluster()?.server ?? ''

  // Asked for once: it makes an agent of its own each time, and so a connection for each request.
  const prepare = async (): Promise<RequestOptions> => {
    const options: RequestOptions = {}
    await config.applyToHTTPSOptions(options)
    const { ca, cert, key, rejectUnauthorized } = options
    return { headers: options.headers, agent: new Agent({ keepAlive: true, ca, cert, key, rejectUnauthorized }) }
  }
  let prepared: Promise<RequestOptions> | undefined

  const send: ApiRequests['send'] = async (method, path, body, contentType = 'application/json') => {
    prepared ??= prepare()
    const options = await prepared
    return new Promise((resolve, reject) => {
      const outgoing = request(`${server}${path}`, { ...options, method, timeout: 10_000 }, (response) => {
        const read = (content: string): ApiAnswer => ({
          status: response.statusCode ?? 0,
          body: response.headers['content-type']?.startsWith('application/json') ? JSON.parse(content) : content,
        })
        text(response).then(read).then(resolve, reject)
      })
      outgoing.on('timeout', () => outgoing.destroy(new Error(`${method} ${path}: no answer within 10 s`)))
      if (body !== undefined) outgoing.setHeader('Content-Type', contentType)
      outgoing.on('error', reject).end(body && JSON.stringify(body))
    })
  }

  return {
    send,
    async get(path) {
      const { status, body } = await send('GET', path)
      if (status === 404) return undefined
      if (status !== 200) throw new Error(`GET ${path}: ${status} ${JSON.stringify(body)}`)
      return body
    },
  }
}
