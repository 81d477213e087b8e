import { MetabindError } from '../errors.ts'
import { RefusalWithHeaders } from '../http/error-response.ts'
import type { HttpResponse } from '../http/response.ts'
import type { Answered } from '../metadata/cached-reads.ts'
import type { Gate } from '../policy/gate.ts'
import type { JudgedRequest } from './judged-request.ts'
import { isRelayed } from './known-path.ts'
import type { RelayDeps } from './relay-deps.ts'

type Deps = RelayDeps & { readonly gate: Gate }

/**
 * What the source has at a path. Most is answered at once: from the cache, without a promise.
 *
 * @throws MetabindError METADATA_ABSENT, LIMIT_RATE, SOURCE_…
 */
export function relayMetadata(
  deps: Deps,
  request: JudgedRequest,
): HttpResponse | Promise<HttpResponse> {
  const { caller, target } = request
  if (!isRelayed(target.path, deps.dialect)) throw new MetabindError('METADATA_ABSENT')
  const answered = deps.metadata.read(target, {
    fresh: request.wantsFresh,
    onMiss: () => deps.limits.requireMiss(caller.uid),
  })
  return answered instanceof Promise
    ? answered.then((known) => responseOf(deps, request, known))
    : responseOf(deps, request, answered)
}

function responseOf(
  deps: Deps,
  { id, caller, target: { path } }: JudgedRequest,
  { item, cache, ageSeconds }: Answered,
): HttpResponse {
  deps.counters.cache(cache)
  const headers = { age: String(ageSeconds), 'x-metabind-cache': cache }
  // The two headers are on the refusal too: a 404 has an age as well.
  if (item === undefined) throw new RefusalWithHeaders('METADATA_ABSENT', headers)
  deps.gate.seen(caller, path)
  if (deps.gate.isSecret(caller, path)) deps.audit({ event: 'secret.read', id, caller, path })
  return { status: 200, headers: { ...headers, 'content-type': item.contentType }, body: item.body }
}
