// Lets a test look, or act, right before each atomic access: where the other side of a ring could have acted.

export interface Access {
  readonly kind: 'load' | 'store';
  readonly array: Uint16Array;
  readonly index: number;
}

/** Until disposed, `before` is called ahead of every `Atomics.load` and `Atomics.store` but those it makes itself. */
export function watchAtomics(before: (access: Access) => void): Disposable {
  const { load, store } = Atomics;
  let isInside = false;
  const tell = (access: Access): void => {
    if (isInside) return;
    isInside = true;
    try {
      before(access);
    } finally {
      isInside = false;
    }
  };
  Atomics.load = ((array: Uint16Array, index: number) => {
    tell({ kind: 'load', array, index });
    return load(array, index);
  }) as typeof load;
  Atomics.store = ((array: Uint16Array, index: number, value: number) => {
    tell({ kind: 'store', array, index });
    return store(array, index, value);
  }) as typeof store;
  return {
    [Symbol.dispose]() {
      Object.assign(Atomics, { load, store });
    },
  };
}
