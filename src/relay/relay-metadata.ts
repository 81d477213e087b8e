import { MetabindError } from '../errors.ts'
import { RefusalWithHeaders } from '../http/error-response.ts'
import type { HttpResponse } from '../http/response.ts'
import type { Answered } from '../metadata/cached-reads.ts'
import type { Gate } from '../policy/gate.ts'
import type { JudgedRequest, StillPermitted } from './judged-request.ts'
import { isRelayed } from './known-path.ts'
import type { RelayDeps } from './relay-deps.ts'

type Deps = RelayDeps & { readonly gate: Gate }

/**
 * What the source has at a path. Most is answered at once: from the cache, without a promise.
 *
 * @throws MetabindError METADATA_ABSENT, LIMIT_RATE, SOURCE_…, those of stillPermitted
 */
export function relayMetadata(
  deps: Deps,
  request: JudgedRequest,
  stillPermitted: StillPermitted,
): HttpResponse | Promise<HttpResponse> {
  const { caller, target } = request
  if (!isRelayed(target.path, deps.dialect)) throw new MetabindError('METADATA_ABSENT')
  const answered = deps.metadata.read(target, {
    fresh: request.wantsFresh,
    onMiss: () => deps.limits.requireMiss(caller.uid),
  })
  if (!(answered instanceof Promise)) return responseOf(deps, request, answered)
  return answered
    .finally(() => stillPermitted(request))
    .then((known) => responseOf(deps, request, known))
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
