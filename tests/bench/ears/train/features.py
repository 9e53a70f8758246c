"""features: what the network sees, computed by the program's own C code, and that code's network to compare with."""
import ctypes, os
import numpy as np

BANDS, RATE = 40, 50
TAKE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_float))


class Ears:
    """library: ears.so, made as README.md says."""
    def __init__(self, library):
        self.so = so = ctypes.CDLL(os.path.abspath(library))
        so.mel_new.restype = ctypes.c_void_p
        so.mel_new.argtypes = [TAKE, ctypes.c_void_p]
        so.mel_feed.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        so.mel_finish.argtypes = so.mel_free.argtypes = [ctypes.c_void_p]

    def mel(self, mono):
        mono, rows = np.ascontiguousarray(mono, np.float32), []
        take = TAKE(lambda _, bands: rows.append(ctypes.string_at(bands, 4 * BANDS)))
        mel = self.so.mel_new(take, None)
        self.so.mel_feed(mel, mono.ctypes.data, len(mono))
        self.so.mel_finish(mel)
        self.so.mel_free(mel)
        return np.frombuffer(b''.join(rows), np.float32).reshape(-1, BANDS)

    def odds(self, mel):
        """The program's own log odds of beat and downbeat at each frame; [2, frames]."""
        so = self.so
        so.net_new.restype = so.net_odds.restype = ctypes.c_void_p
        so.net_feed.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        so.net_finish.argtypes = so.net_free.argtypes = so.net_odds.argtypes = [ctypes.c_void_p]
        net = so.net_new()
        for row in np.ascontiguousarray(mel, np.float32): so.net_feed(net, row.ctypes.data)
        so.net_finish(net)

        class Series(ctypes.Structure):
            _fields_ = [('value', ctypes.POINTER(ctypes.c_float)), ('count', ctypes.c_size_t), ('room', ctypes.c_size_t)]
        of = ctypes.cast(so.net_odds(net), ctypes.POINTER(Series * 2)).contents
        out = np.stack([np.array(o.value[:o.count], 'f') for o in of])
        so.net_free(net)
        return out
